"""The options that say what a job is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from himalia.cli.values import Duration, Size, pairs, parameters

if TYPE_CHECKING:
    from himalia.client.options import JobOptions

F = TypeVar("F", bound=Callable[..., Any])

_PARAMETERS = (
    click.option(
        "-p",
        "typed_items",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter; JSON becomes a value, anything else is text.",
    ),
    click.option(
        "-P", "raw_items", multiple=True, metavar="NAME=TEXT", help="A parameter that is text."
    ),
)
_REST = (
    click.option("--environment", "-e", help="Kernel, or path of a Python environment."),
    click.option("--format", "formats", multiple=True, help="Also convert to: html, markdown …"),
    click.option("--env-var", "env", multiple=True, metavar="NAME=VALUE"),
    click.option("--file", "files", multiple=True, help="One more input file or folder."),
    click.option("--whole-folder", is_flag=True, help="Take all that lies beside the notebook."),
    click.option("--working-folder", help="Start the kernel there; else in a folder of the run's."),
    click.option("--output", "outputs", multiple=True, help="Pattern of files to keep: '*.csv'."),
    click.option("--timeout", "timeout_seconds", type=Duration(), help="For the run: 90s, 5m, 2h."),
    click.option("--cell-timeout", "cell_timeout_seconds", type=Duration(), help="For each cell."),
    click.option("--retries", type=click.IntRange(min=0), help="How often a failure is retried."),
    click.option("--retry-delay", type=Duration(), help="Before the first retry."),
    click.option("--memory", type=Size(), help="At most: 500M, 2G."),
    click.option("--cpu", type=click.FloatRange(min=0, min_open=True), help="Cores, at most."),
    click.option("--profile", help="What the run is given: see `himalia profiles`."),
    click.option("--tag", "tags", multiple=True),
    click.option("--project", help="What the usage is booked on."),
    click.option(
        "--after",
        multiple=True,
        metavar="JOB_ID[:ON]",
        help="Run after that job's success; or its 'failure', or 'end'.",
    ),
    click.option("--keep-runs", type=click.IntRange(min=1), help="Keep that many ended runs."),
    click.option("--keep-days", type=click.FloatRange(min=0, min_open=True), help="Keep them."),
    click.option("--email", multiple=True, help="Whom to tell when a run ends."),
    click.option("--webhook", multiple=True, metavar="URL", help="What to call when a run ends."),
    click.option(
        "--webhook-secret-file", type=click.File(), help="Holds what the webhooks are signed with."
    ),
    click.option("--notify-on", type=click.Choice(["success", "failure", "end"]), default="end"),
)


def parameter_options(command: F) -> F:
    """Add ``-p`` and ``-P``."""
    for option in reversed(_PARAMETERS):
        command = option(command)
    return command


def spec_options(command: F) -> F:
    """Add all options of a job."""
    for option in reversed((*_PARAMETERS, *_REST)):
        command = option(command)
    return command


def chosen(given: dict[str, Any]) -> JobOptions:
    """Turn the options that were given into what the client takes."""
    options = {name: value for name, value in given.items() if value not in {None, ()}}
    options["parameters"] = parameters(options.pop("typed_items", ()), options.pop("raw_items", ()))
    options["env"] = pairs(options.pop("env", ()), "--env-var")
    retries = {
        "count": options.pop("retries", None),
        "delay_seconds": options.pop("retry_delay", None),
    }
    resources = {"cpu": options.pop("cpu", None), "memory_bytes": options.pop("memory", None)}
    retention = {
        "keep_runs": options.pop("keep_runs", None),
        "keep_days": options.pop("keep_days", None),
    }
    nested = {
        "retries": _given(retries),
        "resources": _given(resources),
        "retention": _given(retention),
        "after": [_dependency(text) for text in options.pop("after", ())],
        "notify": _notifications(options),
    }
    options |= {name: value for name, value in nested.items() if value}
    return options  # type: ignore[return-value]


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _dependency(text: str) -> dict[str, str]:
    job_id, _, condition = text.partition(":")
    return {"workload_id": job_id, "on": condition or "success"}


def _notifications(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Take from `options` whom to tell."""
    on = (options.pop("notify_on", "end"),)
    file = options.pop("webhook_secret_file", None)
    # A file, since every user of the machine can read what others write on a command line.
    secret = {"secret": file.read().strip()} if file is not None else {}
    told = [{"on": on, "webhook": url, **secret} for url in options.pop("webhook", ())]
    return told + [{"on": on, "email": address} for address in options.pop("email", ())]
