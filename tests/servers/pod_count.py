"""Which pods of runs there ever were."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.servers.cluster import Cluster


class PodCount:
    """Which pods of runs there ever were, as another client of the API server saw them."""

    def __init__(self, cluster: Cluster, file: Path, prefix: str) -> None:
        self._file, self._prefix = file, f"{prefix}-"
        words = "{.metadata.namespace} {.metadata.name} {.metadata.uid}{'\\n'}"
        with file.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    *("kubectl", "--kubeconfig", cluster.kubeconfig, "get", "pods"),
                    *("--all-namespaces", "--watch", "--output", f"jsonpath={words}"),
                    "--selector=app.kubernetes.io/component=run",
                ],
                stdout=out,
                stdin=subprocess.DEVNULL,
            )

    def of(self, names: Iterable[str]) -> dict[str, int]:
        """Return how many pods there were of each name, of these and of all others."""
        assert self._process.poll() is None, "the watch has ended"
        seen = {
            tuple(line.split())
            for line in self._file.read_text().splitlines()
            if line.startswith(self._prefix)
        }
        counted = Counter(name for _, name, _ in seen)
        return {name: counted[name] for name in {*names, *counted}}

    def close(self) -> None:
        """Watch no more."""
        self._process.terminate()
        self._process.wait()
