"""Servers that do not start say why, to the user whose server it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.servers.environment import server_python
from tests.servers.hub import Hub

SERVER = """
import os, sys
user = os.environ["JUPYTERHUB_USER"]
if user == "full":
    raise OSError(28, "No space left on device", "/home/full")
if user == "lacking":
    import himalia_hub.nothing_of_this_name
    raise ModuleNotFoundError("No module named 'jupyterlab'")
print("<script>alert(1)</script> of", user)
sys.exit(7)
"""


@pytest.fixture(scope="module")
def failing() -> Iterator[Hub]:
    """A hub whose servers end at once, each user's in another way."""
    made = Hub(config=f"c.Spawner.cmd = [{str(server_python())!r}, '-c', {SERVER!r}]\n")
    try:
        asyncio.run(made.start())
        yield made
    finally:
        made.clear()


async def message(hub: Hub, user: str) -> tuple[str, str]:
    """Start a user's server by the button; return what the page says then, and what was said
    meanwhile: by the button's own answer where the end came at once, else by the progress.
    """
    async with await hub.visitor(user) as visitor:
        await visitor.enter("/hub/home")
        form = {"_xsrf": visitor.xsrf("/hub/spawn") or ""}
        answer = await visitor.http.post("/hub/spawn", data=form)
        if answer.status_code < 400:
            answer = await visitor.http.get(f"/hub/api/users/{user}/server/progress")
            events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
            last = json.loads(events[-1])
            assert last["failed"]
            meanwhile = str(last.get("html_message") or last["message"])
        else:
            meanwhile = answer.text
        page = await visitor.enter(f"/hub/spawn-pending/{user}")
        return page.text, meanwhile


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("full", "There is no space left for your files"),
        ("lacking", "lacks a part of Himalia"),
        ("other", "Your server ended while it started (status 7)"),
    ],
)
async def test_the_page_says_why_and_what_to_do(failing: Hub, user: str, words: str) -> None:
    page, meanwhile = await message(failing, user)
    for said in (page, meanwhile):
        assert words in said
        assert "<script>alert(1)" not in said


@pytest.mark.asyncio
async def test_the_log_is_where_the_page_says(failing: Hub) -> None:
    page, _ = await message(failing, "another")
    assert "~/.local/state/himalia/server.log" in page
    (log,) = failing.state.glob("homes/another-*/.local/state/himalia/server.log")
    assert log.read_text() == "<script>alert(1)</script> of another\n"
    assert "&lt;script&gt;alert(1)&lt;/script&gt; of another" in page
    assert "of another" not in failing.log()
