"""``python -m himalia_hub.kubernetes --config FILE``: the process that makes namespaces."""

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
        prog="python -m himalia_hub.kubernetes", description="Make a namespace for every user."
    )
    parser.add_argument("--config", type=Path, required=True, help="jupyterhub_config.py")
    parser.add_argument("--port", type=int, help="by default c.Kubernetes.namespaces_port")
    parser.add_argument("--host", help="address to listen on; by default every one")
    chosen = parser.parse_args(arguments)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form)
    from himalia_hub.kubernetes import serve  # noqa: PLC0415 - a wrong argument is told at once

    try:
        serve.main(serve.Start(config=chosen.config.absolute(), port=chosen.port, host=chosen.host))
    except HimaliaError as error:
        sys.exit(f"Namespaces cannot be made: {error.message}")


if __name__ == "__main__":
    main()
