"""``himalia job``: run notebooks, and look after the runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from himalia.cli import output, texts
from himalia.cli.specs import chosen, spec_options
from himalia.cli.waiting import follow_log, leave_with, wait_for

if TYPE_CHECKING:
    from himalia.client import Client
    from himalia.core.model import Run

STATUSES = (
    "waiting", "queued", "starting", "running", "stopping",
    "succeeded", "failed", "stopped", "skipped",
)  # fmt: skip
RUN_PREFIX = "run-"

wait_option = click.option(
    "--wait", "-w", is_flag=True, help="Wait for the end; the exit code tells how it ended."
)


def run_of(client: Client, id: str) -> Run:
    """Find the run that `id` means: itself, or a job's latest.

    :raises click.UsageError: the job has not run yet.
    """
    if id.startswith(RUN_PREFIX):
        return client.runs.get(id)
    latest = client.jobs.get(id).last_run
    if latest is None:
        raise click.UsageError(f"{id} has not run yet; start it with: himalia job rerun {id}")
    return latest


def show_started(client: Client, run: Run, *, wait: bool, as_json: bool) -> None:
    """Tell about a run that was just queued and, if asked, wait for its end and exit with it."""
    if not wait:
        if as_json:
            output.print_json(run)
        else:
            click.echo(f"{run.id} {run.status.value}")
        return
    ended = wait_for(client, run, quiet=as_json)
    if as_json:
        output.print_json(ended)
    leave_with(ended)


@click.group()
def job() -> None:
    """Run notebooks as jobs."""


@job.command("run")
@click.argument("notebook")
@spec_options
@click.option("--name", help="Name of the job; the notebook's own when not given.")
@wait_option
@output.json_option
@click.pass_context
def run_(
    context: click.Context,
    /,
    notebook: str,
    name: str | None,
    wait: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Run NOTEBOOK as a job, from a snapshot taken now.

    With --wait the exit code is 0 when it succeeded, 1 when it failed and 3 when it was stopped.
    """
    client = output.client(context)
    made = client.jobs.create(notebook, name=name, **chosen(given))
    assert made.last_run is not None
    show_started(client, made.last_run, wait=wait, as_json=as_json)


@job.command("list")
@click.option("--runs", "of_runs", is_flag=True, help="List runs instead of jobs.")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice(STATUSES), help="Only such runs."
)
@click.option("--search", help="Part of the name.")
@click.option("--tag", help="Only with this tag.")
@click.option("--limit", type=click.IntRange(min=1), default=25, show_default=True)
@output.json_option
@click.pass_context
def list_(
    context: click.Context, /, of_runs: bool, statuses: tuple[str, ...], as_json: bool, **which: Any
) -> None:
    """List jobs with their latest run, or runs; the newest first."""
    client = output.client(context)
    if of_runs or statuses:
        from himalia.core.model import Status  # noqa: PLC0415 - slow

        runs = client.runs.list(statuses=tuple(map(Status, statuses)), **which)
        if as_json:
            output.print_json(runs)
        else:
            output.print_table(texts.RUN_HEADER, map(texts.run_row, runs))
        return
    jobs = client.jobs.list(**which)
    if as_json:
        output.print_json(jobs)
        return
    output.print_table(texts.JOB_HEADER, map(texts.job_row, jobs))


@job.command()
@click.argument("id")
@output.json_option
@click.pass_context
def show(context: click.Context, id: str, as_json: bool) -> None:
    """Show a job (with its latest run) or a run."""
    client = output.client(context)
    if as_json:
        output.print_json(client.runs.get(id) if id.startswith(RUN_PREFIX) else client.jobs.get(id))
        return
    facts: list[tuple[str, str]] = []
    if not id.startswith(RUN_PREFIX):
        made = client.jobs.get(id)
        facts = [("job", made.id), ("notebook", made.spec.notebook)]
        facts += [("environment", made.spec.environment or ""), ("name", made.name)]
        if made.last_run is None:
            output.print_facts([*facts, ("last run", "none yet")])
            return
        run = made.last_run
    else:
        run = client.runs.get(id)
    output.print_facts([*facts, *texts.run_facts(run)])


@job.command()
@click.argument("id")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run has ended.")
@output.json_option
@click.pass_context
def log(context: click.Context, id: str, follow: bool, as_json: bool) -> None:
    """Print the log of a run, or of a job's latest."""
    client = output.client(context)
    run = run_of(client, id)
    text = follow_log(client, run, follow=follow, quiet=as_json)
    if as_json:
        import json  # noqa: PLC0415 - only here

        click.echo(json.dumps({"run_id": run.id, "text": text}, ensure_ascii=False))


@job.command()
@click.argument("id")
@wait_option
@output.json_option
@click.pass_context
def stop(context: click.Context, id: str, wait: bool, as_json: bool) -> None:
    """Stop a run, or a job's latest."""
    client = output.client(context)
    run = client.runs.stop(run_of(client, id).id)
    if wait:
        run = client.runs.wait(run.id)
    if as_json:
        output.print_json(run)
    else:
        click.echo(f"{run.id} {run.status.value}")


@job.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@output.json_option
@click.pass_context
def delete(context: click.Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Delete jobs (with their runs and schedules) or ended runs."""
    client = output.client(context)
    for one in ids:
        if one.startswith(RUN_PREFIX):
            client.runs.delete(one)
        else:
            client.jobs.delete(one)
        if not as_json:
            click.echo(f"{one} deleted")
    if as_json:
        output.print_json(())


@job.command()
@click.argument("id")
@click.option("--from-failed-cell", is_flag=True, help="Keep the outputs before the failed cell.")
@wait_option
@output.json_option
@click.pass_context
def rerun(
    context: click.Context, id: str, from_failed_cell: bool, wait: bool, as_json: bool
) -> None:
    """Repeat a run from its own snapshot, or start a job once more."""
    client = output.client(context)
    if id.startswith(RUN_PREFIX) or from_failed_cell:
        run = client.runs.rerun(run_of(client, id).id, from_failed_cell=from_failed_cell)
    else:
        run = client.runs.start(id)
    show_started(client, run, wait=wait, as_json=as_json)


@job.command()
@click.argument("id")
@click.option(
    "--download", type=click.Path(file_okay=False, path_type=Path), help="Save them in this folder."
)
@output.json_option
@click.pass_context
def outputs(context: click.Context, id: str, download: Path | None, as_json: bool) -> None:
    """List what a run (or a job's latest) has left, or download it."""
    client = output.client(context)
    run = run_of(client, id)
    left = client.runs.outputs(run.id)
    if download is not None:
        places = client.runs.download(run.id, download)
        if not as_json:
            for place in places:
                click.echo(texts.plain(str(place)))
            return
    if as_json:
        output.print_json(left)
    else:
        output.print_table(texts.OUTPUT_HEADER, map(texts.output_row, left))
