"""What exactly ran: kernel, interpreter, and a digest of the installed distributions."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from himalia import __version__
from himalia.runners.environments import KernelSpec

_ASK = "import json, sys; print(json.dumps(sys.path))"
_PATIENCE_SECONDS = 20


def versions(
    spec: KernelSpec, language_info: dict[str, Any], env: dict[str, str]
) -> dict[str, str]:
    """Return the versions that a result carries."""
    language = language_info.get("name") or spec.language
    parts = [str(language), str(language_info.get("version") or "")]
    digest = ""
    if spec.language == "python":
        parts.append(spec.argv[0])
        digest = packages_digest(_search_path(spec, env))
    return {
        "kernel": spec.name,
        "interpreter": " ".join(part for part in parts if part),
        "packages_digest": digest,
        "himalia": __version__,
    }


def packages_digest(search_path: list[str]) -> str:
    """Digest the distributions on a search path, from their folders' names alone.

    Reading each one's metadata would take longer than a small notebook runs.
    """
    found: dict[str, str] = {}
    for folder in search_path:
        try:
            names = [path.name for path in Path(folder or ".").iterdir()]
        except OSError:
            continue
        for name in names:
            stem, dot, kind = name.rpartition(".")
            distribution, dash, version = stem.partition("-")
            if dot and dash and kind in ("dist-info", "egg-info"):
                # The first one on the path is the one that is imported.
                key = distribution.lower().replace("_", "-").replace(".", "-")
                found.setdefault(key, version.partition("-")[0])
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _search_path(spec: KernelSpec, env: dict[str, str]) -> list[str]:
    if spec.is_own_python and "PYTHONPATH" not in env:
        return sys.path
    try:
        asked = subprocess.run(  # noqa: S603 - the interpreter that just ran the notebook
            [spec.argv[0], "-c", _ASK],
            capture_output=True,
            env=env,
            check=True,
            timeout=_PATIENCE_SECONDS,
            cwd=Path(sys.prefix),
        )
        return list(json.loads(asked.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
