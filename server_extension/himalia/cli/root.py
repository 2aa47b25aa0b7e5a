"""The command ``himalia``: its groups, and how errors are shown.

Everything that is slow to import is imported by the command that needs it, so that help and
completion answer at once.
"""

from __future__ import annotations

from typing import Any

import click

import himalia
from himalia.cli.control import completion, control, environments, profiles, status
from himalia.cli.jobs import job
from himalia.cli.schedules import schedule
from himalia.cli.usage import quotas, usage
from himalia.core.errors import HimaliaError, InvalidInput

USAGE_EXIT = 2


class _Root(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Show an error as its text: the field, what is wrong, the next step."""
        try:
            return super().invoke(ctx)
        except HimaliaError as error:
            for line in _lines(error):
                click.echo(line, err=True)
            ctx.exit(USAGE_EXIT if isinstance(error, InvalidInput) else 1)


def _lines(error: HimaliaError) -> list[str]:
    if not error.problems:
        return [f"Error: {error.message}"]
    return [f"Error: {problem.field}: {problem.message}" for problem in error.problems]


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--url",
    help="Address of a Jupyter server to talk to, instead of this machine's own service "
    "(also HIMALIA_URL; its token goes into HIMALIA_TOKEN). A hub's control is found by "
    "HIMALIA_CONTROL_URL.",
)
@click.version_option(himalia.__version__, prog_name="himalia")
@click.pass_context
def root(context: click.Context, url: str | None) -> None:
    """Run notebooks as jobs, at times, and look at what became of them."""
    context.obj = url


for command in (job, schedule, usage, quotas, status, environments, profiles, control, completion):
    root.add_command(command)


def main() -> None:
    """Run the command line and exit."""
    root.main(prog_name="himalia")
