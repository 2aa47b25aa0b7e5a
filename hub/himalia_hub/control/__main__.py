"""``python -m himalia_hub.control --config FILE``: what the hub starts."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from himalia.core.errors import HimaliaError


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m himalia_hub.control", description="Own the workloads of a hub's users."
    )
    parser.add_argument("--config", type=Path, required=True, help="jupyterhub_config.py")
    parser.add_argument(
        "--beside",
        action="store_true",
        help="run beside the hub's own control, on the same PostgreSQL database",
    )
    parser.add_argument("--port", type=int, help="on this machine; with --beside, 0 for any")
    chosen = parser.parse_args(arguments)
    if chosen.beside and chosen.port is None:
        chosen.port = 0
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form)
    # What they would say is each request with its address, and each part of a migration.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from himalia_hub.control import serve  # noqa: PLC0415 - heavy; a wrong argument is told at once

    try:
        serve.main(
            serve.Start(config=chosen.config.absolute(), is_beside=chosen.beside, port=chosen.port)
        )
    except HimaliaError as error:
        sys.exit(f"Control cannot start: {error.message}")


if __name__ == "__main__":
    main()
