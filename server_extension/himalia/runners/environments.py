"""Where notebooks can run on this machine: kernelspecs and Python environments.

Reads the kernelspec files itself, by the rules of
https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs, because importing
jupyter_client costs more than control may weigh and a runner may wait.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_NAME = re.compile(r"^[A-Za-z0-9._-]+$")
DEFAULT = "python3"
_BARE_WORDS = ("python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info))
_IPYKERNEL_ARGV = ("-m", "ipykernel_launcher", "-f", "{connection_file}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSpec:
    """How a kernel is started."""

    name: str
    title: str
    language: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    interrupt_by_message: bool = False
    folder: str = ""
    provisioner: str = ""
    """Name of a provisioner other than this machine's own processes."""

    @property
    def is_own_python(self) -> bool:
        """Tell whether it is plain ipykernel in the interpreter that runs this."""
        is_plain = "ipykernel_launcher" in self.argv or "ipykernel" in self.argv
        return is_plain and not self.env and _is_own(self.argv[0]) and len(self.argv) <= 6


def find_kernelspec(name: str) -> KernelSpec | None:
    """Return the kernelspec of a name, or of a Python environment's absolute path, or None."""
    if Path(name).is_absolute():
        return _of_python(Path(name))
    found = list_kernelspecs()
    return found.get(name.lower()) if _NAME.match(name) else None


def list_kernelspecs() -> dict[str, KernelSpec]:
    """Return kernelspecs by name: the earlier folder wins, this interpreter is always there."""
    specs: dict[str, KernelSpec] = {}
    for folder in _kernel_folders():
        try:
            entries = sorted(entry.name for entry in folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            name = entry.lower()
            if name in specs or not _NAME.match(entry):
                continue
            spec = _read(name, folder / entry)
            if spec is not None:
                specs[name] = spec
    if DEFAULT not in specs:
        specs[DEFAULT] = _python_spec(DEFAULT, sys.executable, "Python 3 (ipykernel)")
    return specs


def _kernel_folders() -> list[Path]:
    from jupyter_core.paths import jupyter_path  # noqa: PLC0415 - reads the environment when asked

    return [Path(folder) for folder in jupyter_path("kernels")]


def _read(name: str, folder: Path) -> KernelSpec | None:
    try:
        data: Any = json.loads((folder / "kernel.json").read_bytes())
        argv = tuple(str(part) for part in data["argv"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not argv:
        return None
    if argv[0] in _BARE_WORDS:
        # As jupyter_client does: the bare word means the interpreter that is running.
        argv = (sys.executable, *argv[1:])
    metadata = data.get("metadata") or {}
    provisioner = metadata.get("kernel_provisioner") or {}
    return KernelSpec(
        name=name,
        title=str(data.get("display_name") or name),
        language=str(data.get("language") or "").lower(),
        argv=argv,
        env={str(key): str(value) for key, value in (data.get("env") or {}).items()},
        interrupt_by_message=data.get("interrupt_mode") == "message",
        folder=str(folder),
        provisioner=str(provisioner.get("provisioner_name") or ""),
    )


def _of_python(path: Path) -> KernelSpec | None:
    try:
        candidates = [path / "bin" / "python", path / "python"] if path.is_dir() else [path]
        for candidate in candidates:
            if candidate.is_file() and os.access(candidate, os.X_OK):
                # The link inside the environment is what makes it that environment.
                return _python_spec(str(path), str(candidate), f"Python in {path}")
    except OSError:
        # In somebody else's folder, or no name that a file can have: as good as absent.
        return None
    return None


def _python_spec(name: str, interpreter: str, title: str) -> KernelSpec:
    return KernelSpec(
        name=name, title=title, language="python", argv=(interpreter, *_IPYKERNEL_ARGV)
    )


def _is_own(interpreter: str) -> bool:
    # Compared without following links: an environment's python is a link to the system's.
    one, mine = Path(interpreter), Path(sys.executable)
    return one.parent == mine.parent and one.exists() and one.samefile(mine)
