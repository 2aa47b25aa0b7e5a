"""The check that users are apart: what its pods try, and what it makes of what they say."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from himalia.core.errors import Unavailable
from himalia_hub.isolation import probe
from himalia_hub.isolation.check import Verdict, _findings
from himalia_hub.isolation.places import OPEN, TITLES, neighbour, targets
from himalia_hub.isolation.probe import Finding, Target
from himalia_hub.kubernetes.settings import Kubernetes

OWNER = "alice-abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "homes" / "alice"
    made.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(made))
    return made


def tried(port: int) -> list[Target]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        closed = free.getsockname()[1]
    return [
        Target(name="hub", host="127.0.0.1", port=port, is_open=True),
        Target(name="database", host="127.0.0.1", port=closed, is_open=False),
        Target(name="nowhere", host="name.invalid", port=1, is_open=False),
    ]


def test_a_pod_says_what_it_reaches(
    port: int, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LAST_WORDS", tmp_path / "words")
    probe.main([json.dumps([asdict(target) for target in tried(port)])])
    found = {one["name"]: one["is_open"] for one in json.loads((tmp_path / "words").read_text())}
    assert found == {
        "hub": True,
        "database": False,
        "nowhere": False,
        "token": False,
        "other-homes": False,
        "own-home": True,
    }
    assert list(home.iterdir()) == []


def test_a_pod_sees_a_token_and_a_neighbours_home(home: Path, tmp_path: Path) -> None:
    (home.parent / "bob").mkdir()
    (home.parent / "bob" / probe.MARK).touch()
    token = tmp_path / "token"
    token.touch()
    found = {one.name: one.is_open for one in probe.find([], homes=home.parent, token=token)}
    assert (found["token"], found["other-homes"]) == (True, True)


def test_what_is_tried_has_words_and_is_closed_unless_users_need_it() -> None:
    settings = Kubernetes(release_namespace="team", nfs_server="nfs.example.org")
    found = targets(
        settings,
        neighbour={"hostIP": "10.0.0.1", "podIP": "10.1.0.1"},
        store_url="postgresql+psycopg://himalia:secret@db.example.org:6432/himalia",
        env={"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"},
    )
    assert {one.name for one in found if one.is_open} == OPEN - {"own-home"}
    assert {one.name for one in found} | {"own-home", "token", "other-homes"} == set(TITLES)
    (database,) = [one for one in found if one.name == "database"]
    assert (database.host, database.port) == ("db.example.org", 6432)
    assert "secret" not in repr(found)


def test_its_pods_are_what_sessions_are() -> None:
    pod = neighbour(OWNER, Kubernetes(release_namespace="team", node_selector={"pool": "users"}))
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "session"
    assert pod["spec"]["nodeSelector"] == {"pool": "users"}
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_a_verdict_tells_right_from_wrong() -> None:
    assert Verdict(name="hub", is_open=True).line == "ok     the hub, by its name: reached"
    assert Verdict(name="database", is_open=True).line == "WRONG  the database: reached"
    assert Verdict(name="database", is_open=False).is_right
    assert not Verdict(name="own-home", is_open=False).is_right


def test_findings_are_the_pods_last_words() -> None:
    def ended(message: str) -> dict[str, object]:
        return {"containerStatuses": [{"state": {"terminated": {"message": message}}}]}

    said = json.dumps([{"name": "hub", "is_open": True}])
    assert _findings(ended(said)) == [Finding(name="hub", is_open=True)]
    for words in ("Traceback: no module", '[{"name": 1, "other": 2}]', '{"a": 1}'):
        with pytest.raises(Unavailable, match="without findings") as error:
            _findings(ended(words))
        assert words in error.value.message
