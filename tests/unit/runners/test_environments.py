"""Where notebooks can run: found as Jupyter itself finds it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager

from himalia.backends.local.environments import list_environments
from himalia.runners.environments import find_kernelspec, list_kernelspecs


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    folder = tmp_path / "kernels"
    folder.mkdir()
    return folder


def install(kernels: Path, name: str, content: Any) -> None:
    (kernels / name).mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (kernels / name / "kernel.json").write_text(text)


SPEC = {"argv": ["ir", "{connection_file}"], "display_name": "R here", "language": "R"}


def test_the_same_kernels_are_found_as_by_jupyter(kernels: Path) -> None:
    install(kernels, "ir", SPEC)
    assert set(list_kernelspecs()) == set(KernelSpecManager().find_kernel_specs())


def test_a_kernel_is_described(kernels: Path) -> None:
    install(kernels, "IR", {**SPEC, "interrupt_mode": "message", "env": {"A": "b"}})
    spec = find_kernelspec("ir")

    assert spec is not None
    assert (spec.title, spec.language, spec.argv[0]) == ("R here", "r", "ir")
    assert spec.interrupt_by_message
    assert spec.env == {"A": "b"}
    assert not spec.is_own_python


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"argv": []}', '{"argv": 5}'])
def test_a_broken_kernelspec_is_left_out(kernels: Path, content: str) -> None:
    install(kernels, "broken", content)
    assert "broken" not in list_kernelspecs()


@pytest.mark.parametrize(
    "name", ["../x", "", "a/b", "no such", "\0", "/no/such/python", "/" + "x" * 300]
)
def test_what_is_not_there_is_not_found(name: str) -> None:
    assert find_kernelspec(name) is None


def test_an_environment_is_found_by_its_folder_or_its_interpreter() -> None:
    for path in (sys.prefix, sys.executable):
        spec = find_kernelspec(path)
        assert spec is not None
        assert Path(spec.argv[0]).parent == Path(sys.prefix) / "bin"
        assert spec.is_own_python


def test_the_own_python_is_the_default_and_warm(kernels: Path) -> None:
    install(kernels, "ir", SPEC)
    first, *others = list_environments()

    assert (first.name, first.is_default, first.is_warm) == ("python3", True, True)
    assert [(other.name, other.is_default, other.is_warm) for other in others] == [
        ("ir", False, False)
    ]


def test_looking_imports_nothing_heavy() -> None:
    source = (
        "import sys, himalia.backends.local.backend, himalia.backends.local.environments as e\n"
        "e.list_environments()\n"
        "heavy = {'nbformat', 'nbconvert', 'nbclient', 'jupyter_client', 'ipykernel', 'zmq'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)
    assert printed.stdout == b"[]\n"
