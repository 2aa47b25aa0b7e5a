"""``himalia control``, ``status``, ``environments``, ``profiles`` and ``completion``."""

from __future__ import annotations

import asyncio
import json

import click

from himalia.cli import output, texts


@click.command()
@output.json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show how the service is doing; starts it when it is not running."""
    client = output.client(context)
    now = client.status()
    if as_json:
        output.print_json(now)
        return
    output.print_facts(texts.status_facts(now))
    for warning in now.warnings:
        click.echo(f"Warning: {warning.message} {warning.next_step}".rstrip(), err=True)
    for line in texts.notice_lines(client.usage.notice()):
        click.echo(line, err=True)


@click.command()
@output.json_option
@click.pass_context
def environments(context: click.Context, as_json: bool) -> None:
    """List where notebooks can run."""
    found = output.client(context).environments()
    if as_json:
        output.print_json(found)
        return
    rows = [
        (one.name, one.title, one.language, "default" if one.is_default else "") for one in found
    ]
    output.print_table(("NAME", "TITLE", "LANGUAGE", ""), rows)


@click.command()
@output.json_option
@click.pass_context
def profiles(context: click.Context, as_json: bool) -> None:
    """List what a run may be given, for --profile."""
    found = output.client(context).profiles()
    if as_json:
        output.print_json(found)
    elif found:
        output.print_table(texts.PROFILE_HEADER, map(texts.profile_row, found))
    else:
        click.echo("There is nothing to choose from here: a run takes what it asks for.")


@click.group()
def control() -> None:
    """Look after the background service of this machine."""


@control.command("status")
@output.json_option
def control_status(as_json: bool) -> None:
    """Tell whether the service runs; does not start it. Exit code 1 when it does not."""
    from himalia.control.launcher import find_control  # noqa: PLC0415 - slow

    socket = asyncio.run(find_control())
    if as_json:
        click.echo(json.dumps({"is_running": socket is not None, "socket": str(socket or "")}))
    else:
        click.echo(f"running at {socket}" if socket else "not running")
    if socket is None:
        raise click.exceptions.Exit(1)


@control.command()
def stop() -> None:
    """Stop the service; runs that go on are found again by the next one."""
    from himalia.control.launcher import stop_control  # noqa: PLC0415 - slow

    click.echo("stopped" if asyncio.run(stop_control()) else "not running")


@control.command()
def install() -> None:
    """Have the system start the service at login."""
    from himalia.control.installation import install as place  # noqa: PLC0415 - slow

    click.echo(place())


@control.command()
def uninstall() -> None:
    """Undo install."""
    from himalia.control.installation import uninstall as remove  # noqa: PLC0415 - slow

    click.echo(remove())


@control.command()
def serve() -> None:
    """Run the service in the foreground."""
    from himalia.control.serve import main  # noqa: PLC0415 - slow

    main()


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script.

    For bash: eval "$(himalia completion bash)" in ~/.bashrc.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only here

    completer = get_completion_class(shell)
    assert completer is not None, "the choices are click's own"
    command = context.find_root().command
    click.echo(completer(command, {}, "himalia", "_HIMALIA_COMPLETE").source())
