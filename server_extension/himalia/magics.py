"""``%himalia`` and ``%%himalia``: jobs from the notebook that one is in.

``%load_ext himalia`` makes them known; ``%himalia --help`` lists what they can do.
"""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class
from IPython.display import display

from himalia import views
from himalia.cli import texts
from himalia.cli.specs import chosen, spec_options
from himalia.cli.values import local_zone
from himalia.client import Client
from himalia.core.errors import HimaliaError
from himalia.core.model import Run, RunEvent

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_SECONDS_BETWEEN_UPDATES = 0.1

wait_option = click.option("--wait", "-w", is_flag=True, help="Show progress until the end.")
limit_option = click.option("--limit", type=click.IntRange(min=1), default=25)


@magics_class
class HimaliaMagics(Magics):
    """The magics of one shell, over one client."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """The client, opened when it is first needed."""
        if self._client is None:
            self._client = Client()
        return self._client

    @line_cell_magic
    def himalia(self, line: str, cell: str | None = None) -> object:
        """Run, list and stop jobs (``%himalia --help``); ``%%himalia job`` runs the cell."""
        group = line_commands if cell is None else cell_commands
        magic = "%himalia" if cell is None else "%%himalia"
        try:
            arguments = shlex.split(line) or ["--help"]
            context = group.make_context(magic, arguments, obj=(self.client, cell, self.is_kernel))
            with context:
                return group.invoke(context)
        except click.exceptions.Exit:
            return None
        except click.ClickException as error:
            raise UsageError(error.format_message()) from error
        except (HimaliaError, ValueError) as error:
            raise UsageError(str(error)) from error

    @property
    def is_kernel(self) -> bool:
        """Whether a front end shows what is displayed, and updates of it."""
        return getattr(self.shell, "kernel", None) is not None

    def close(self) -> None:
        """Let go of the client."""
        if self._client is not None:
            self._client.close()
            self._client = None


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Make the magics known to `shell`."""
    magics = HimaliaMagics(shell)
    shell.register_magics(magics)


class _Group(click.Group):
    def __init__(self, **settings: Any) -> None:
        super().__init__(
            **settings,
            context_settings={"help_option_names": ["-h", "--help"]},
            no_args_is_help=True,
        )


line_commands = _Group(help="Run notebooks as jobs, and look after the runs.")
cell_commands = _Group(help="Run the cell below as a job.")


@line_commands.command()
@click.option("--search", help="Part of the name.")
@limit_option
@click.pass_obj
def jobs(given: tuple[Client, None, bool], search: str | None, limit: int) -> views.Table:
    """List jobs with their latest run."""
    found = given[0].jobs.list(search=search, limit=limit)
    return views.Table(
        header=texts.JOB_HEADER,
        rows=[texts.job_row(one) for one in found],
        empty="No jobs yet. Make one with: %himalia run NOTEBOOK",
    )


@line_commands.command()
@click.option("--search", help="Part of the name.")
@limit_option
@click.pass_obj
def runs(given: tuple[Client, None, bool], search: str | None, limit: int) -> views.Table:
    """List runs; the newest first."""
    found = given[0].runs.list(search=search, limit=limit)
    return views.Table(header=texts.RUN_HEADER, rows=[texts.run_row(one) for one in found])


@line_commands.command()
@click.argument("notebook")
@spec_options
@click.option("--name")
@wait_option
@click.pass_obj
def run(
    given: tuple[Client, None, bool], /, notebook: str, name: str | None, wait: bool, **options: Any
) -> views.RunView | None:
    """Run NOTEBOOK as a job, from a snapshot taken now."""
    client, _, is_kernel = given
    started = client.run(notebook, name=name, **chosen(options))
    return _shown(client, started, wait=wait, is_kernel=is_kernel)


@cell_commands.command()
@spec_options
@click.option("--name")
@wait_option
@click.pass_obj
def job(
    given: tuple[Client, str, bool], /, name: str | None, wait: bool, **options: Any
) -> views.RunView | None:
    """Run the cell below as a job, in this notebook's folder."""
    client, source, is_kernel = given
    chosen_options = chosen(options)
    chosen_options.setdefault("working_folder", str(Path.cwd()))
    # This kernel's own environment, whatever kernel control would take for the same name.
    chosen_options.setdefault("environment", sys.executable)
    name = name or _title(source)
    started = client.run(str(_write(source)), name=name, **chosen_options)
    return _shown(client, started, wait=wait, is_kernel=is_kernel)


@line_commands.command()
@click.argument("id")
@click.option("--tail", type=click.IntRange(min=1), default=200_000, help="Bytes from its end.")
@click.pass_obj
def log(given: tuple[Client, None, bool], id: str, tail: int) -> views.Log:
    """Show the log of a run, or of a job's latest."""
    run_id = _run_id(given[0], id)
    return views.Log(text=given[0].runs.log(run_id, offset=-tail, limit=tail).text)


@line_commands.command()
@click.argument("id")
@click.pass_obj
def show(given: tuple[Client, None, bool], id: str) -> views.Facts:
    """Show a run, or a job's latest."""
    client = given[0]
    return views.Facts(pairs=texts.run_facts(client.runs.get(_run_id(client, id))))


@line_commands.command()
@click.argument("id")
@click.option("--download", type=click.Path(file_okay=False), help="Save them in this folder.")
@click.pass_obj
def outputs(given: tuple[Client, None, bool], id: str, download: str | None) -> views.Table:
    """List what a run has left, or download it."""
    client = given[0]
    run_id = _run_id(client, id)
    if download is not None:
        places = client.runs.download(run_id, download)
        return views.Table(header=("SAVED",), rows=[(str(place),) for place in places])
    rows = [texts.output_row(one) for one in client.runs.outputs(run_id)]
    return views.Table(header=texts.OUTPUT_HEADER, rows=rows)


@line_commands.command()
@click.argument("id")
@click.pass_obj
def stop(given: tuple[Client, None, bool], id: str) -> views.RunView:
    """Stop a run, or a job's latest."""
    client = given[0]
    return views.RunView(run=client.runs.stop(_run_id(client, id)))


@line_commands.command()
@click.pass_obj
def status(given: tuple[Client, None, bool]) -> views.Facts:
    """Show how the service is doing."""
    said = [("notice", line) for line in texts.notice_lines(given[0].usage.notice())]
    return views.Facts(pairs=[*said, *texts.status_facts(given[0].status())])


@line_commands.command()
@click.option("--by", type=click.Choice(["kind", "project"]), default="kind")
@click.option("--month", help="As in 2026-11, in UTC; this month when not given.")
@click.pass_obj
def usage(given: tuple[Client, None, bool], by: str, month: str | None) -> views.Table:
    """Show what you have used in a month."""
    totals = given[0].usage.totals(by, month=month)
    rows = [texts.usage_row(one) for one in totals]
    return views.Table(
        header=texts.usage_header(by), rows=rows, empty="Nothing was used in this month."
    )


@line_commands.command()
@click.pass_obj
def quotas(given: tuple[Client, None, bool]) -> views.Table:
    """Show what you may use, and how much of it is taken."""
    rows = texts.quota_rows(given[0].usage.quotas())
    return views.Table(
        header=texts.QUOTA_HEADER, rows=rows, empty="Nobody set a limit on what you run."
    )


@line_commands.command()
@click.pass_obj
def profiles(given: tuple[Client, None, bool]) -> views.Table:
    """List what a run may be given, for --profile."""
    return views.Table(
        header=texts.PROFILE_HEADER,
        rows=[texts.profile_row(one) for one in given[0].profiles()],
        empty="There is nothing to choose from here: a run takes what it asks for.",
    )


@line_commands.command()
@click.argument("notebook")
@click.argument("cron")
@spec_options
@click.option("--name")
@click.option("--time-zone", "-z", help="As in Europe/Berlin; this machine's when not given.")
@click.pass_obj
def schedule(
    given: tuple[Client, None, bool], /, notebook: str, cron: str, **options: Any
) -> object:
    """Run NOTEBOOK at the times of CRON: "0 6 * * 1-5"."""
    client = given[0]
    zone, name = options.pop("time_zone") or local_zone(), options.pop("name")
    client.schedules.preview(cron, time_zone=zone, count=1)
    made = client.jobs.create(notebook, name=name, run=False, **chosen(options))
    return views.Facts(
        pairs=texts.schedule_facts(client.schedules.create(made.id, cron, time_zone=zone))
    )


def _run_id(client: Client, id: str) -> str:
    if id.startswith("run-"):
        return id
    latest = client.jobs.get(id).last_run
    if latest is None:
        raise UsageError(f"{id} has not run yet")
    return latest.id


def _shown(client: Client, run: Run, *, wait: bool, is_kernel: bool) -> views.RunView | None:
    """Show a run that was just started: as it is, or live until its end."""
    if not wait:
        return views.RunView(run=run)
    if not is_kernel:
        return views.RunView(run=client.runs.wait(run.id))
    handle = display(views.RunView(run=run), display_id=True)  # type: ignore[no-untyped-call]
    assert handle is not None, "a display with an id has a handle"
    shown_at = 0.0

    def update(event: RunEvent) -> None:
        nonlocal shown_at
        if event.run is not None and time.monotonic() - shown_at > _SECONDS_BETWEEN_UPDATES:
            shown_at = time.monotonic()
            handle.update(views.RunView(run=event.run))

    try:
        handle.update(views.RunView(run=client.runs.wait(run.id, on_event=update)))
    except KeyboardInterrupt:
        raise UsageError(f"The run goes on. Stop it with: %himalia stop {run.id}") from None
    return None


def _title(source: str) -> str:
    first = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return texts.plain(first.lstrip("# "))[:60].strip() or "cell"


def _write(source: str) -> Path:
    """Write a notebook of one cell below the working folder, hidden there."""
    folder = Path.cwd() / ".himalia" / "cells"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    cell: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "id": secrets.token_hex(4),
        "metadata": {},
        "outputs": [],
        "source": source,
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    version = ".".join(map(str, sys.version_info[:3]))
    notebook = {
        "cells": [cell],
        "metadata": {
            "kernelspec": kernel,
            "language_info": {"name": "python", "version": version},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = folder / f"cell-{secrets.token_hex(4)}.ipynb"
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")
    return path
