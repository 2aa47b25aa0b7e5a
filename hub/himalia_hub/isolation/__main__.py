"""``python -m himalia_hub.isolation --config FILE``: what `helm test` runs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from traitlets.config.loader import PyFileConfigLoader

from himalia.core.errors import HimaliaError, Unavailable
from himalia.core.team import IsolationReport
from himalia_hub.isolation.check import Verdict, check
from himalia_hub.isolation.telling import report_of, tell
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.settings import Himalia
from himalia_hub.state import State


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, print a line for each thing, and end with status 1 where one is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m himalia_hub.isolation",
        description="See that users are apart from each other and from the cluster.",
    )
    parser.add_argument("--config", type=Path, required=True, help="jupyterhub_config.py")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    c = PyFileConfigLoader(str(chosen.config.absolute())).load_config()
    himalia, settings = Himalia(config=c), Kubernetes(config=c)
    token = State.of(himalia).secret("namespaces-token")
    try:
        verdicts = asyncio.run(_check(settings, token, himalia.store_url))
    except HimaliaError as error:
        sys.exit(error.message)
    sys.stdout.write("".join(f"{verdict.line}\n" for verdict in verdicts))
    wrong = [verdict for verdict in verdicts if not verdict.is_right]
    if wrong:
        sys.exit(f"{len(wrong)} of {len(verdicts)} are not as they should be.")
    sys.stdout.write("Users are apart from each other and from the cluster.\n")


async def _check(settings: Kubernetes, token: str, store_url: str) -> list[Verdict]:
    """Check, and have the admin page show what came of it.

    :raises HimaliaError: it could not be made, or told.
    """
    try:
        verdicts = await check(settings, token, store_url)
    except HimaliaError as error:
        await tell(settings, token, IsolationReport(error=error.message[:2000]))
        raise Unavailable(f"The check could not be made: {error.message}") from error
    await tell(settings, token, report_of(verdicts))
    return verdicts


if __name__ == "__main__":
    main()
