"""What the code must look like as a whole: who imports whom, how large things get, how named."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.import_rules import HEAVY, RULES, Rule
from tests.servers.patience import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("server_extension/himalia", "hub/himalia_hub")
EVERYTHING = (*PRODUCT, "tests", "benchmarks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Python file."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def imports(self) -> Iterator[str]:
        """Yield full names, those inside functions too."""
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*parents, *([base] if base else [])])
                yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def modules(folders: tuple[str, ...]) -> tuple[Module, ...]:
    """Return every Python file below `folders`."""
    found = []
    for folder in folders:
        top = (ROOT / folder).parent
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text()
            found.append(Module(path=path, name=name, text=text, tree=ast.parse(text)))
    return tuple(found)


def below(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def migrates(name: str) -> bool:
    """Tell whether a module belongs to the process that brings a store up to date."""
    return below(name, "himalia.store.migrations") or name == "himalia.store.migrate"


def test_the_packages_are_found() -> None:
    names = {module.name for module in modules(PRODUCT)}
    assert {"himalia.core.service", "himalia.store.base", "himalia_hub.configure"} <= names


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.part)
def test_imports_go_one_way(rule: Rule) -> None:
    wrong = [
        f"{module.where} imports {name}"
        for module in modules(PRODUCT)
        if below(module.name, rule.part) and not migrates(module.name)
        for name in module.imports()
        if any(below(name, part) for part in rule.never)
        and not any(below(name, part) for part in rule.but)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ["core", "store", "control", "kinds", "agents"])
def test_what_control_loads_stays_light(package: str) -> None:
    """Not even through others: memory is measured by what ends up in the process."""
    folder = ROOT / "server_extension/himalia" / package
    names = [
        module.name
        for module in modules(PRODUCT)
        if module.path.is_relative_to(folder)
        and not migrates(module.name)
        and not module.name.endswith("__main__")
    ]
    code = (
        f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_modules_have_at_most_400_lines() -> None:
    wrong = [
        f"{module.where}: {lines}"
        for module in modules(EVERYTHING)
        if (lines := len(module.text.splitlines())) > 400
    ]
    assert not wrong, "\n".join(wrong)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_have_at_most_50_lines() -> None:
    wrong = [
        f"{module.where}:{node.lineno} {node.name}: {lines}"
        for module in modules(EVERYTHING)
        if not below(module.name, "himalia.store.migrations")  # a table is stated as a whole
        for node in functions(module)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > 50
    ]
    assert not wrong, "\n".join(wrong)


def test_functions_take_at_most_6_parameters() -> None:
    """Options of a command are declared one by one, and not passed on by position."""
    wrong = []
    for module in modules(PRODUCT):
        for node in functions(module):
            names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
            names += [arg.arg for arg in node.args.kwonlyargs]
            taken = [name for name in names if name not in {"self", "cls"}]
            if len(taken) > 6 and not is_command(node):
                wrong.append(f"{module.where}:{node.lineno} {node.name}: {len(taken)}")
    assert not wrong, "\n".join(wrong)


def is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


LARGER = {
    *("Backend", "LocalBackend", "HomeBackend", "AgentBackend", "KubernetesBackend"),
    "HimaliaScheduler",
}
"""Contracts and what fulfils them, ours and jupyter-scheduler's: a seam is stated in one place."""


def test_classes_have_at_most_12_public_methods() -> None:
    wrong = []
    for module in modules(PRODUCT):
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef) or node.name in LARGER:
                continue
            public = [
                item.name
                for item in node.body
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
                and not item.name.startswith("_")
                and not any("property" in ast.unparse(mark) for mark in item.decorator_list)
            ]
            if len(public) > 12:
                wrong.append(f"{module.where}:{node.lineno} {node.name}: {len(public)}")
    assert not wrong, "\n".join(wrong)


def test_modules_are_named_after_what_they_hold() -> None:
    vague = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc)(_|$)")
    folders = [ROOT / folder for folder in (*EVERYTHING, "labextension/src")]
    wrong = [
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {"", ".py", ".ts", ".tsx"} and vague.search(path.stem.lower())
    ]
    assert not wrong, "\n".join(wrong)


def test_components_have_at_most_250_lines() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in sorted((ROOT / "labextension/src").rglob("*.tsx"))
        if (lines := len(path.read_text().splitlines())) > 250
    ]
    assert not wrong, "\n".join(wrong)


def test_the_environment_is_not_read_at_import() -> None:
    wrong = []
    for module in modules(PRODUCT):
        inside = {
            id(child)
            for node in functions(module)
            for part in node.body
            for child in ast.walk(part)
        }
        wrong += [
            f"{module.where}:{node.lineno}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node) in {"os.environ", "os.getenv"}
            and id(node) not in inside
        ]
    assert not wrong, "\n".join(wrong)


def test_locks_pin_every_package_by_hash_and_name_no_host() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        assert "://" not in text, path.name
        pins = re.findall(r"^[A-Za-z0-9][^ ]*", text, re.MULTILINE)
        assert pins
        assert all("==" in pin for pin in pins), path.name
        assert text.count(" \\\n    --hash=sha256:") >= len(pins), path.name
    assert "__archiveUrl" not in (ROOT / "labextension/yarn.lock").read_text()
