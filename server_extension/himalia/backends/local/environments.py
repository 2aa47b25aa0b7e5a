"""Where notebooks can run on this machine."""

from __future__ import annotations

from himalia.core.model import Environment
from himalia.runners.environments import DEFAULT, find_kernelspec, list_kernelspecs


def list_environments() -> tuple[Environment, ...]:
    """Return the installed environments, the default first. Reads the disk.

    A spec's environment may also be the absolute path of a Python environment.
    """
    specs = list_kernelspecs().values()
    return tuple(
        Environment(
            name=spec.name,
            title=spec.title,
            language=spec.language,
            is_default=spec.name == DEFAULT,
            is_warm=spec.is_own_python,
        )
        for spec in sorted(specs, key=lambda spec: (spec.name != DEFAULT, spec.title.lower()))
    )


def has_environment(name: str) -> bool:
    """Tell whether a spec may name this environment. Reads the disk."""
    return find_kernelspec(name) is not None
