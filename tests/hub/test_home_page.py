"""The page that tells what fills a home: its owner's alone, and it deletes nothing outside."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.servers.hub import Hub
from tests.servers.session import Session

pytestmark = pytest.mark.asyncio
HOSTILE = "<img src=x onerror=alert(1)>"
TURNED = "innocent\u202egpj.exe"


def fill(hub: Hub, user: str) -> Path:
    """Put things into a user's home, as they would."""
    account = hub.account(user)
    home = Path(account.pw_dir)
    (home / "big").mkdir()
    for name in (HOSTILE, TURNED, "big/data.bin"):
        (home / name).write_bytes(bytes(3 * 2**20 if "data" in name else 1))
    for path in (home / "big", *home.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return home


async def test_a_home_is_cleaned_up_by_its_owner_alone(hub: Hub) -> None:
    async with Session(hub, "hoover") as hoover, Session(hub, "nosy") as nosy:
        home = await asyncio.to_thread(fill, hub, "hoover")
        page = await hoover.ask("GET", "himalia/home")
        assert page.status_code == 200, page.text
        assert HOSTILE not in page.text
        assert "&lt;img src=x" in page.text
        assert "\u202e" not in page.text
        assert page.text.index("big/") < page.text.index("&lt;img")
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        inside = await hoover.ask("GET", "himalia/home?in=big")
        assert "data.bin" in inside.text

        # Somebody else's page may neither read nor post, nor may one of another site's.
        assert (await nosy.visitor.ask("GET", f"{hoover.base}himalia/home")).status_code != 200
        body = {"path": "big"}
        refused = await hoover.visitor.ask(
            "POST", f"{hoover.base}himalia/home", xsrf=False, data=body
        )
        assert refused.status_code == 403
        assert (home / "big").exists()

        for outside in ("..%2Fnosy", "%2E%2E", f"..%2F{quote(str(home), '')}", "%00", ""):
            answer = await hoover.ask("POST", "himalia/home", data={"path": outside})
            assert answer.status_code in {400, 404}, (outside, answer.text)
        for name in ("big", HOSTILE, TURNED):
            data = {"path": quote(name, safe="")}
            gone = await hoover.ask("POST", "himalia/home", data=data)
            assert gone.status_code == 303, gone.text
            assert not (home / name).exists()
        twice = await hoover.ask("POST", "himalia/home", data={"path": "big"})
        assert twice.status_code == 404
        use = await hoover.ask("GET", "himalia/api/home")
        assert use.json()["is_rescued"] is False
        assert use.json()["used_bytes"] <= use.json()["size_bytes"]
