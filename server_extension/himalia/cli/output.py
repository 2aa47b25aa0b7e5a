"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from himalia.cli import texts

if TYPE_CHECKING:
    from pydantic import BaseModel

    from himalia.client import Client
    from himalia.core.model import Run

F = TypeVar("F", bound=Callable[..., Any])

json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of text."
)

_COLOURS = {"succeeded": "green", "failed": "red", "running": "cyan", "skipped": "yellow"}


def client(context: click.Context) -> Client:
    """Open the client for this command; it is closed with it."""
    from himalia.client import Client  # noqa: PLC0415 - slow

    return context.with_resource(Client(context.find_root().obj))


def print_json(value: BaseModel | Iterable[BaseModel]) -> None:
    """Print one model, or a list of them, as JSON."""
    if hasattr(value, "model_dump"):
        data: object = value.model_dump(mode="json")
    else:
        data = [item.model_dump(mode="json") for item in value]
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns, under a header."""
    head, *rest = texts.table(header, rows)
    click.echo("\n".join([click.style(head, bold=True), *rest]))


def print_facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names with their values; empty values are left out."""
    click.echo("\n".join(texts.facts(pairs)))


def print_end(run: Run) -> None:
    """Say on standard error how a run ended, why, and what to do next."""
    status = click.style(run.status.value, fg=_COLOURS.get(run.status.value))
    click.echo(f"{run.id} {status} {texts.took(run)}".rstrip(), err=True)
    if run.reason is not None:
        click.echo(texts.terminal_safe(run.reason.message), err=True)
        if run.reason.next_step:
            click.echo(texts.terminal_safe(run.reason.next_step), err=True)
