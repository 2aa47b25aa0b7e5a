"""A real JupyterLab with a state of its own, and Chromium to drive it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nbformat.v4
import papermill
import pytest
from playwright.sync_api import Browser, Page

from himalia.control.launcher import stop_control
from himalia.core.places import Places
from tests.servers.chromium import browser, chromium, jp_asyncio_loop, jp_server_cleanup
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port

__all__ = ["browser", "jp_asyncio_loop", "jp_server_cleanup"]

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "test-results/screenshots"
PANEL = ROOT / "server_extension/himalia/labextension"
CONFIGURATIONS = (
    ROOT / "server_extension/jupyter-config/himalia.json",
    ROOT / "server_extension/jupyter-config-scheduler/jupyter_jupyter_scheduler_config.json",
)
REAL = Path(papermill.__file__).parent / "tests/notebooks"
"""Notebooks that another project wrote, shipped in its wheel."""
NO_NEWS = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if chromium() is None:
                item.add_marker(pytest.mark.skip(reason="there is no Chromium"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A JupyterLab that runs, and the user's folder that it shows."""

    root: Path
    home: Path
    url: str
    token: str

    def address(self, path: str = "", workspace: str = "auto-w") -> str:
        """Return where the page begins, in a workspace that nobody used before."""
        tree = f"/tree/{path}" if path else ""
        return f"{self.url}/lab/workspaces/{workspace}{tree}?token={self.token}&reset"


RUNNING = pytest.StashKey[ExitStack]()


def _environment(folder: Path) -> dict[str, str]:
    """Keep a JupyterLab away from all that its user has, and show it the panel built here."""
    settings = folder / "settings"
    (settings / NO_NEWS).parent.mkdir(parents=True)
    (settings / NO_NEWS).write_text('{"fetchNews": "false"}')
    config = folder / "config"
    (config / "jupyter_server_config.d").mkdir(parents=True)
    shutil.copy(CONFIGURATIONS[0], config / "jupyter_server_config.d")
    shutil.copy(CONFIGURATIONS[1], config)
    extensions = folder / "share/labextensions/@himalia"
    extensions.mkdir(parents=True)
    (extensions / "lab").symlink_to(PANEL)
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HIMALIA_HOME": str(folder / "home"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_PATH": str(folder / "share"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return the JupyterLab of all tests of this folder."""
    with ExitStack() as running:
        request.config.stash[RUNNING] = running
        yield running.enter_context(_started(tmp_path_factory.mktemp("lab")))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop JupyterLab after the last test of this folder, not after that of the session."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        item.config.stash.get(RUNNING, ExitStack()).close()


@contextmanager
def _started(folder: Path) -> Iterator[Lab]:
    """Start JupyterLab as a user does; stop it, and the user's control, at the end."""
    root = folder / "root"
    root.mkdir()
    token, port = secrets.token_hex(16), free_port()
    environment = _environment(folder)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={token}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=root, stdout=log, stderr=log)
        url = f"http://localhost:{port}"
        try:
            _wait_for(url, server, folder / "log")
            yield Lab(root=root, home=folder / "home", url=url, token=token)
            _stop_runs(url, token)
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            asyncio.run(stop_control(Places(home=folder / "home")))


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{url}/api", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-4000:]}")


def _stop_runs(url: str, token: str) -> None:
    """Stop what still runs: it would go on without its server, as it should."""
    headers = {"Authorization": f"token {token}"}
    with httpx.Client(
        base_url=f"{url}/himalia/api/", headers=headers, timeout=PATIENCE_SECONDS
    ) as rest:
        deadline = time.monotonic() + PATIENCE_SECONDS
        statuses = ["waiting", "queued", "starting", "running", "stopping"]
        while time.monotonic() < deadline:
            active = rest.get("runs", params={"status": statuses}).json()["items"]
            if not active:
                return
            for run in active:
                rest.post(f"runs/{run['id']}/stop")
            time.sleep(0.3)


@pytest.fixture
def page(browser: Browser, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a page; each test leaves a picture of its end, and no error in it is passed over."""
    context = browser.new_context(viewport={"width": 1360, "height": 860}, locale="en-GB")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=SCREENSHOTS / f"end-of-{request.node.name}.png")
    context.close()
    assert not errors


@pytest.fixture
def shoot(page: Page) -> Callable[[str], None]:
    """Keep a picture of the page."""

    def keep(name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return keep


@pytest.fixture
def rest(lab: Lab) -> Iterator[httpx.Client]:
    """Ask the REST interface that the panel uses, too."""
    headers = {"Authorization": f"token {lab.token}"}
    with httpx.Client(
        base_url=f"{lab.url}/himalia/api/", headers=headers, timeout=PATIENCE_SECONDS
    ) as client:
        yield client


@pytest.fixture
def notebook(lab: Lab) -> Callable[..., str]:
    """Write a notebook of code cells into the user's folder; returns its path there."""

    def write(name: str, *sources: str, parameters: str | None = None) -> str:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        if parameters is not None:
            tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
            cells.insert(0, tagged)
        return save(lab, name, cells)

    return write


def save(lab: Lab, name: str, cells: list[Any]) -> str:
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    written = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    (lab.root / name).write_text(json.dumps(written))
    return name


@pytest.fixture
def real_notebook(lab: Lab) -> Callable[[str], str]:
    """Copy a notebook that another project wrote into the user's folder."""

    def copy(name: str) -> str:
        shutil.copy(REAL / name, lab.root / name)
        return name

    return copy


@pytest.fixture
def visit(page: Page, lab: Lab, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Open JupyterLab, with a notebook or without one, and show the panel if asked to."""

    def go(path: str = "", *, panel: bool = False) -> None:
        workspace = re.sub(r"\W+", "-", request.node.name)
        page.goto(lab.address(path, workspace))
        page.locator(".jp-DirListing-item, .jp-DirListing-content").first.wait_for()
        if path:
            page.locator(".jp-NotebookPanel").wait_for()
        if panel:
            page.locator("li[data-id='himalia-sidebar']").click()
            page.locator(".hm-Sidebar").wait_for()

    return go
