"""What the documentation says is what there is."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest

import himalia
from himalia.cli.root import root
from himalia.kinds.registry import load_kinds

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page for part in ("*.md", "docs/**/*.md", "benchmarks/*.md") for page in ROOT.glob(part)
)
WRITTEN = ("command-line.md", "helm.md", "hub.md", "kinds.md", "rest.md", "settings.md")
BETWEEN_OUR_PROCESSES = {
    *("HIMALIA_ATTEMPT", "HIMALIA_LOCK_FD"),
    *("HIMALIA_HOME_BYTES", "HIMALIA_RESCUED_HOME", "HIMALIA_RESCUED_WHY"),
}


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", WRITTEN)
def test_the_reference_is_what_the_code_says(reference: ModuleType, name: str) -> None:
    assert set(reference.PAGES) == set(WRITTEN)
    written = (ROOT / "docs/reference" / name).read_text()
    assert written == reference.PAGES[name](), "run `make docs` and commit docs/reference/"


def test_every_environment_variable_is_documented(reference: ModuleType) -> None:
    read = set()
    product = (ROOT / "server_extension/himalia", ROOT / "hub/himalia_hub")
    for path in (path for folder in product for path in folder.rglob("*.py")):
        read |= set(re.findall(r"""["'](HIMALIA_[A-Z_]+)["']""", path.read_text()))
    assert read - BETWEEN_OUR_PROCESSES == set(reference.ENVIRONMENT)


def test_every_kind_has_a_valid_example(reference: ModuleType) -> None:
    for kind in load_kinds().values():
        text = kind.example.model_dump_json()
        assert kind.spec_type.model_validate_json(text) == kind.example
        assert f"## {kind.name}" in reference.kinds()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that Markdown renderers make of headings."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def test_every_page_is_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)[^)]*\)", page.read_text()):
            is_local = not re.match(r"[a-z]+:", target)
            left += [(page.parent / target).resolve()] if is_local else []
    assert reached == set(PAGES)


def test_commands_in_the_readme_are_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"^make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page.name


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = [*project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        named += extra
    for group in project["dependency-groups"].values():
        named += [one for one in group if isinstance(one, str)]
    text = (ROOT / "docs/explanation/libraries.md").read_text().lower()
    names = {re.split(r"[\[<>=~!;@ ]", one)[0].lower() for one in named}
    assert {name for name in names if name not in text} == set()


def blocks(language: str) -> list[str]:
    """Return the blocks of code in `language` of all pages."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [block for page in PAGES for block in pattern.findall(page.read_text())]


def test_python_in_the_pages_is_python() -> None:
    found = [block for block in blocks("python") if not block.startswith("%")]
    assert len(found) >= 5
    for block in found:
        compile(block, "page", "exec")


def test_commands_in_the_pages_are_commands() -> None:
    lines = [
        shlex.split(line, comments=True)
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("himalia ")
    ]
    assert len(lines) >= 10
    for line in lines:
        command: click.Command = root
        words = line[1:]
        while isinstance(command, click.Group):
            assert words[0] in command.commands, " ".join(line)
            command = command.commands[words.pop(0)]
        known = {name for option in command.params for name in option.opts} | {"--help"}
        assert {word for word in words if re.match(r"-\w$|--", word)} <= known, " ".join(line)


def test_the_architecture_fits_on_one_screen() -> None:
    assert len((ROOT / "docs/architecture.md").read_text().splitlines()) <= 80


def test_there_is_one_version() -> None:
    package = json.loads((ROOT / "labextension/package.json").read_text())
    assert package["version"] == himalia.__version__
    assert f"## [{himalia.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_project_names_no_place_of_its_makers() -> None:
    """Locks, sources and pages must work wherever they are checked out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.fail("the checkout has no list of files")
    hosts = re.compile(r"registry\.(npmjs|yarnpkg)|pypi\.org/simple|files\.pythonhosted")
    names = [name for name in listed.stdout.split("\0") if name]
    text = {".py", ".md", ".json", ".toml", ".txt", ".lock", ".ts", ".tsx", ".ipynb", ".yaml", ""}
    for name in names:
        path = ROOT / name
        if path.suffix in text and path.is_file() and path != Path(__file__).resolve():
            found = hosts.search(path.read_text(errors="replace"))
            assert found is None, f"{name}: {found}"
