"""``python -m himalia.control serve``: what launchers and the user's system start."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop, or until there is nothing to do."""
    parser = argparse.ArgumentParser(prog="python -m himalia.control")
    commands = parser.add_subparsers(required=True)
    serving = commands.add_parser("serve", help="own this user's workloads")
    serving.add_argument("--background", action="store_true", help="leave the caller at once")
    serving.add_argument("--ready-fd", type=int, help="file descriptor to say 'ready' on")
    serving.add_argument("--idle-seconds", type=float, help="0 means that it never ends")
    chosen = parser.parse_args(arguments)
    # Before anything heavy is imported: a small process forks quickly, and has no threads.
    if chosen.background and os.fork():
        sys.stdout.flush()
        os._exit(0)
    from himalia.control.serve import main as serve  # noqa: PLC0415

    serve(
        ready=chosen.ready_fd,
        idle_seconds=chosen.idle_seconds,
        is_background=chosen.background,
    )


if __name__ == "__main__":
    main()
