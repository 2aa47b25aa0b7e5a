"""Waiting for a run at the terminal: progress, log, and what Ctrl-C means."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, NoReturn

import click

from himalia.cli import output, texts

if TYPE_CHECKING:
    from himalia.client import Client
    from himalia.core.model import Run, RunEvent

EXIT_CODES = {"succeeded": 0, "failed": 1, "stopped": 3, "skipped": 3}
INTERRUPTED_EXIT = 130

_BAR = 24
_POLL_SECONDS = 0.25


def wait_for(client: Client, run: Run, *, quiet: bool) -> Run:
    """Wait until `run` has ended, with a line of progress on standard error."""
    is_live = sys.stderr.isatty() and not quiet
    if not quiet and not is_live:
        click.echo(f"{run.id} {run.status.value}", err=True)
    try:
        ended = client.runs.wait(run.id, on_event=_progress if is_live else None)
    except KeyboardInterrupt:
        _goes_on(run)
    if is_live:
        click.echo("\r\x1b[K", err=True, nl=False)
    if not quiet:
        output.print_end(ended)
    return ended


def _progress(event: RunEvent) -> None:
    run = event.run
    if run is None:
        return
    filled = _BAR * run.progress.done // max(run.progress.total, 1)
    bar = "█" * filled + "░" * (_BAR - filled)
    click.echo(f"\r\x1b[K{bar} {texts.cells(run)} {run.status.value}", err=True, nl=False)


def _goes_on(run: Run) -> NoReturn:
    click.echo(
        f"\nThe run goes on. See it with: himalia job log -f {run.id}\n"
        f"Stop it with: himalia job stop {run.id}",
        err=True,
    )
    sys.exit(INTERRUPTED_EXIT)


def leave_with(run: Run) -> NoReturn:
    """Exit with the code that tells how `run` ended."""
    sys.exit(EXIT_CODES[run.status.value])


def follow_log(client: Client, run: Run, *, follow: bool, quiet: bool) -> str:
    """Print a run's log, to its end so far or until the run has ended; quiet, only return it."""
    offset, parts = 0, []
    try:
        while True:
            chunk = client.runs.log(run.id, offset=offset)
            if chunk.text:
                text = texts.terminal_safe(chunk.text)
                parts.append(chunk.text)
                if not quiet:
                    click.echo(text, nl=False)
            if chunk.next_offset > offset:
                offset = chunk.next_offset
            elif chunk.complete or not follow:
                return "".join(parts)
            else:
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        _goes_on(run)
