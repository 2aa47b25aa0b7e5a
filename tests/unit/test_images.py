"""What images are built from, and what is written of it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

IMAGES = Path(__file__).resolve().parent.parent.parent / "images"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"images_{name}", IMAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = load("build")
    monkeypatch.setattr(made, "ROOT", tmp_path)
    monkeypatch.setattr(made, "HERE", tmp_path / "images")
    for name, text in {
        "images/session/Dockerfile": "FROM base",
        "requirements/hub.txt": "one==1",
        "dist/himalia-1.whl": "wheel",
        "modules/a/b.js": "1",
        "modules/.cache/c.js": "2",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


INPUTS = {"lock.txt": "requirements/hub.txt", ".": "dist/himalia-*.whl", "modules": "modules"}


def test_a_build_context_is_what_is_named_and_nothing_else(
    build: ModuleType, tmp_path: Path
) -> None:
    image = build.Image("session", INPUTS)
    image.context(tmp_path / "context")
    found = {
        path.relative_to(tmp_path / "context").as_posix()
        for path in (tmp_path / "context").rglob("*")
        if path.is_file()
    }
    assert found == {"Dockerfile", "lock.txt", "himalia-1.whl", "modules/a/b.js"}


@pytest.mark.parametrize(
    "name",
    [
        "images/session/Dockerfile",
        "requirements/hub.txt",
        "dist/himalia-1.whl",
        "modules/a/b.js",
    ],
)
def test_the_digest_is_that_of_all_inputs(build: ModuleType, tmp_path: Path, name: str) -> None:
    image = build.Image("session", INPUTS)
    before = image.digest("base", "sha256:1")
    assert image.digest("base", "sha256:1") == before
    assert image.digest("base", "sha256:2") != before
    (tmp_path / name).write_text("changed")
    assert image.digest("base", "sha256:1") != before


def test_what_is_missing_is_said(build: ModuleType, tmp_path: Path) -> None:
    image = build.Image("session", {".": "dist/other-*.whl"})
    with pytest.raises(SystemExit, match=r"dist/other-\*\.whl is missing"):
        image.context(tmp_path / "context")


def test_every_image_has_a_dockerfile_without_a_place_of_the_machine() -> None:
    names = {image.name for image in load("build").IMAGES}
    assert names == {path.parent.name for path in IMAGES.glob("*/Dockerfile")}
    for name in names:
        text = (IMAGES / name / "Dockerfile").read_text()
        assert "USER 1000:1000" in text
        assert "/etc/ssl/certs/ca-certificates" not in text
        assert "ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm" in text


def test_the_list_of_what_is_in_an_image_is_the_same_whenever_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sbom = load("sbom")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1580601600")
    packages = list(sbom.python_packages())
    one, other = sbom.document("x", packages), sbom.document("x", packages[::-1])
    assert one == other
    assert one["metadata"]["timestamp"] == "2020-02-02T00:00:00Z"
    purls = [component["purl"] for component in one["components"]]
    assert len(purls) == len(set(purls))
    assert any(purl.startswith("pkg:pypi/jupyter-server@") for purl in purls)
    assert json.loads(json.dumps(one)) == one


def test_packages_of_node_are_found_at_any_depth(tmp_path: Path) -> None:
    sbom = load("sbom")
    for place, told in {
        "node_modules/a": {"name": "a", "version": "1.0.0", "license": "MIT"},
        "node_modules/@s/b": {"name": "@s/b", "version": "2.0.0"},
        "node_modules/a/node_modules/b": {"name": "b", "version": "3.0.0"},
        "node_modules/a/esm": {"type": "module"},
    }.items():
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps(told))
    found = {one["purl"] for one in sbom.node_packages(tmp_path / "node_modules")}
    assert found == {"pkg:npm/a@1.0.0", "pkg:npm/%40s/b@2.0.0", "pkg:npm/b@3.0.0"}
