"""``himalia usage`` and ``himalia quotas``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from himalia.cli import output, texts

if TYPE_CHECKING:
    from himalia.client import Client


@click.command()
@click.option(
    "--by", type=click.Choice(["kind", "project"]), default="kind", show_default=True,
    help="What is summed.",
)  # fmt: skip
@click.option("--month", help="As in 2026-11, in UTC; this month when not given.")
@click.option("--csv", "as_csv", is_flag=True, help="Print each entry as CSV instead.")
@output.json_option
@click.pass_context
def usage(context: click.Context, by: str, month: str | None, as_csv: bool, as_json: bool) -> None:
    """Show what you have used in a month."""
    client = output.client(context)
    if as_csv:
        _print_csv(client, month)
        return
    totals = client.usage.totals(by, month=month)
    if as_json:
        output.print_json(totals)
    elif totals:
        output.print_table(texts.usage_header(by), map(texts.usage_row, totals))
    else:
        click.echo("Nothing was used in this month.")


def _print_csv(client: Client, month: str | None) -> None:
    from himalia.core.tables import USAGE, csv_row  # noqa: PLC0415 - slow

    entries = client.usage.entries(month=month)
    click.echo(csv_row(USAGE).encode(), nl=False)
    for entry in entries:
        row = csv_row(get(entry) for get in USAGE.values())
        click.echo(row.encode("utf-8", "replace"), nl=False)


@click.command()
@output.json_option
@click.pass_context
def quotas(context: click.Context, as_json: bool) -> None:
    """Show what you may use, and how much of it is taken."""
    standings = output.client(context).usage.quotas()
    if as_json:
        output.print_json(standings)
    elif rows := texts.quota_rows(standings):
        output.print_table(texts.QUOTA_HEADER, rows)
    else:
        click.echo("Nobody set a limit on what you run.")
