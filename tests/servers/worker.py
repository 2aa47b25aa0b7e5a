"""A user of a hub who works without a server, by REST."""

from __future__ import annotations

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS

SERVICE = "/services/himalia/"


class Worker:
    """A user of the hub who asks control with a token of theirs, as a script of theirs would."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        token = self._token()
        self.rest = httpx.Client(
            base_url=f"{hub.url}{SERVICE}api/",
            headers={"Authorization": f"token {token}"},
            timeout=PATIENCE_SECONDS,
            trust_env=False,
        )
        # The first one makes the home.
        self.rest.post("jobs", json={"spec": {"notebook": "none.ipynb"}})

    def _token(self) -> str:
        with ThreadPoolExecutor(1) as thread:
            made = self.hub.api("POST", f"users/{self.name}/tokens", json={"note": "test"})
            answer = thread.submit(asyncio.run, made).result()
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def start(self, *sources: str, name: str = "work") -> dict[str, Any]:
        """Run a notebook of these cells; returns the job."""
        (home,) = self.hub.state.glob(f"homes/{self.name}-*")
        cells = [
            {
                "cell_type": "code", "source": source, "metadata": {}, "outputs": [],
                "execution_count": None, "id": f"cell-{index}",
            }
            for index, source in enumerate(sources)
        ]  # fmt: skip
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {
            "cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5,
        }  # fmt: skip
        path = home / "work.ipynb"
        path.write_text(json.dumps(content))
        os.chown(path, home.stat().st_uid, home.stat().st_gid)
        body = {"name": name, "spec": {"notebook": "work.ipynb"}}
        answer = self.rest.post("jobs", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the job's latest run as it is now."""
        found: dict[str, Any] = self.rest.get(f"jobs/{job['id']}").json()["last_run"]
        return found

    def ended(self, job: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of the job's run."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            run = self.run(job)
            if run["ended_at"]:
                return run
            time.sleep(0.2)
        raise AssertionError(run)
