"""``himalia schedule``: have jobs run at times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from himalia.cli import output, texts
from himalia.cli.specs import chosen, spec_options
from himalia.cli.values import local_zone

if TYPE_CHECKING:
    from himalia.core.model import Schedule

zone_option = click.option(
    "--time-zone", "-z", help="As in Europe/Berlin; this machine's own when not given."
)


@click.group()
def schedule() -> None:
    """Run jobs at times."""


@schedule.command()
@click.argument("notebook_or_job")
@click.argument("cron")
@spec_options
@click.option("--name", help="Name of the job; the notebook's own when not given.")
@zone_option
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "replace"]),
    default="skip",
    show_default=True,
    help="What a tick does while the run before it goes on.",
)
@click.option(
    "--missed",
    type=click.Choice(["skip", "run_once"]),
    default="run_once",
    show_default=True,
    help="What happens after ticks that nobody could run.",
)
@click.option("--fresh", is_flag=True, help="Take the inputs at each tick, not now.")
@click.option("--paused", is_flag=True, help="Do not start yet.")
@output.json_option
@click.pass_context
def add(context: click.Context, /, notebook_or_job: str, cron: str, **given: Any) -> None:
    """Run a notebook (or a job that exists, by its id) at the times of CRON.

    CRON has five fields: minute, hour, day of month, month, day of week.
    """
    times = {name: given.pop(name) for name in ("overlap", "missed", "paused")}
    zone, fresh = given.pop("time_zone") or local_zone(), given.pop("fresh")
    name, as_json = given.pop("name"), given.pop("as_json")
    options = chosen(given)
    client = output.client(context)
    client.schedules.preview(cron, time_zone=zone, count=1)
    if notebook_or_job.startswith("job-"):
        job_id = notebook_or_job
        times["parameters"] = options.get("parameters", {})
    else:
        job_id = client.jobs.create(notebook_or_job, name=name, run=False, **options).id
    times["inputs"] = "fresh" if fresh else "pinned"
    _show(client.schedules.create(job_id, cron, time_zone=zone, **times), as_json=as_json)


def _show(made: Schedule, *, as_json: bool) -> None:
    if as_json:
        output.print_json(made)
    else:
        output.print_facts(texts.schedule_facts(made))


@schedule.command("list")
@click.option("--search", help="Part of the name.")
@click.option("--limit", type=click.IntRange(min=1), default=25, show_default=True)
@output.json_option
@click.pass_context
def list_(context: click.Context, /, as_json: bool, **which: Any) -> None:
    """List schedules; the newest first."""
    found = output.client(context).schedules.list(**which)
    if as_json:
        output.print_json(found)
        return
    rows = [
        (
            one.id,
            one.workload_name,
            one.cron,
            one.time_zone,
            "paused" if one.paused else texts.when(one.next_tick_at),
        )
        for one in found
    ]
    output.print_table(("SCHEDULE", "NAME", "CRON", "ZONE", "NEXT"), rows)


@schedule.command()
@click.argument("id")
@output.json_option
@click.pass_context
def show(context: click.Context, id: str, as_json: bool) -> None:
    """Show a schedule."""
    _show(output.client(context).schedules.get(id), as_json=as_json)


@schedule.command()
@click.argument("id")
@output.json_option
@click.pass_context
def pause(context: click.Context, id: str, as_json: bool) -> None:
    """Stop ticking until resumed."""
    _show(output.client(context).schedules.update(id, paused=True), as_json=as_json)


@schedule.command()
@click.argument("id")
@output.json_option
@click.pass_context
def resume(context: click.Context, id: str, as_json: bool) -> None:
    """Tick again."""
    _show(output.client(context).schedules.update(id, paused=False), as_json=as_json)


@schedule.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@output.json_option
@click.pass_context
def delete(context: click.Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Delete schedules; their jobs and runs stay."""
    client = output.client(context)
    for one in ids:
        client.schedules.delete(one)
        if not as_json:
            click.echo(f"{one} deleted")
    if as_json:
        output.print_json(())


@schedule.command()
@click.argument("cron")
@zone_option
@click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True)
@output.json_option
@click.pass_context
def preview(
    context: click.Context, cron: str, time_zone: str | None, count: int, as_json: bool
) -> None:
    """Show the next times of CRON, and the line in words."""
    zone = time_zone or local_zone()
    ticks = output.client(context).schedules.preview(cron, time_zone=zone, count=count)
    if as_json:
        output.print_json(ticks)
        return
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - slow

    click.echo(f"{texts.plain(ticks.words)} ({ticks.time_zone})")
    for tick in ticks.ticks:
        click.echo(tick.astimezone(ZoneInfo(ticks.time_zone)).strftime("%a %Y-%m-%d %H:%M %Z"))
