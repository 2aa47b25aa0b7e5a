"""What an heir gets: the files of another, checked, and nothing that leads elsewhere."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.agents.moving import Box, pack
from himalia.agents.premises import AgentPremises
from himalia.core.errors import InvalidInput
from himalia.core.model import Status
from himalia.core.names import new_id
from himalia.core.places import Places
from tests.servers.people import People, Resident, served


def described(path: str, data: bytes, **changes: object) -> bytes:
    head = json.dumps({"path": path, "size": len(data), "runs": False} | changes).encode()
    return struct.pack(">I", len(head)) + head + data


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(home=tmp_path / "state").prepare_files()


async def test_an_heir_runs_what_was_pinned_and_reads_what_was_left(
    people: People, tmp_path: Path
) -> None:
    async with served(people, tmp_path) as (service, agents):
        alice, bob = (Resident(people, service, name) for name in ("alice", "bob"))
        job = await alice.job("print('from alice')", env={"KEPT": "1"})
        run = await alice.ended(job.last_run)
        assert job.snapshot is not None
        premises = AgentPremises(agents)
        for _ in range(2):
            await premises.hand_over(alice.owner, bob.owner, [job.snapshot.digest], [run.id])
        await premises.hand_over(alice.owner, bob.owner, [f"sha256:{'0' * 64}"], [new_id("run")])

        await premises.hold(bob.owner, job.snapshot.digest)
        assert list(await premises.attempts(bob.owner, run.id)) == [1]
        state = bob.account.state(bob.owner)
        left = {path.name for path in (state / "runs" / run.id / "1").iterdir()}
        assert {"result.json", "events.jsonl", "outputs", "log"} <= left
        assert left.isdisjoint({"plan.json", "work", "lock"})
        for path in state.rglob("*"):
            assert path.stat().st_uid == bob.account.home.stat().st_uid
        assert not list((state / "snapshots").glob(".new-*"))
        assert run.status is Status.SUCCEEDED


@pytest.mark.parametrize(
    "sent",
    [
        described("../../x", b"1"),
        described("/etc/x", b"1"),
        described("1/outputs/../../../x", b"1"),
        described("1/plan.json", b"{}"),
        described("1/outputs/a\0b", b"1"),
        described("1/outputs//a", b"1"),
        described("1/outputs/a", b"1", size=-1),
        described("1/outputs/a", b"1", size="many"),
        struct.pack(">I", 2**31) + b"x",
        struct.pack(">I", 2) + b"[]",
    ],
)
def test_041_what_leads_elsewhere_is_refused_whole(places: Places, sent: bytes) -> None:
    box = Box(places, f"runs/{new_id('run')}")
    with pytest.raises(InvalidInput):
        box.put(described("1/result.json", b"{}") + sent)
    box.drop()
    assert [path for path in places.home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["", "runs/..", "snapshots/x", "runs/run-1/2", "/etc", "x/y"])
def test_037_only_snapshots_and_runs_are_passed_on(places: Places, name: str) -> None:
    with pytest.raises(InvalidInput):
        Box(places, name)
    with pytest.raises(InvalidInput):
        next(pack(places, name))


def test_a_snapshot_is_what_its_digest_says(places: Places) -> None:
    manifest = json.dumps({"files": [{"path": "a", "sha256": "00"}], "spec": None}).encode()
    for digest in (hashlib.sha256(manifest).hexdigest(), "0" * 64):
        box = Box(places, f"snapshots/{digest}")
        box.put(described("manifest.json", manifest) + described("files/a", b"other"))
        with pytest.raises(InvalidInput, match=r"another|not complete"):
            box.finish()
        box.drop()
    assert list(places.snapshots.iterdir()) == []


def test_what_is_cut_short_is_not_kept(places: Places) -> None:
    run_id = new_id("run")
    box = Box(places, f"runs/{run_id}")
    box.put(described("1/result.json", b"{}")[:-1])
    with pytest.raises(InvalidInput, match="cut short"):
        box.finish()
    box.drop()
    assert not (places.runs / run_id).exists()


def test_039_links_and_pipes_stay_behind(places: Places, tmp_path: Path) -> None:
    run_id = new_id("run")
    outputs = places.runs / run_id / "1" / "outputs"
    outputs.mkdir(parents=True)
    (tmp_path / "secret").write_text("canary")
    (outputs / "link").symlink_to(tmp_path / "secret")
    (outputs / "folder").symlink_to(tmp_path)
    (outputs / "kept").write_text("mine")
    sent = b"".join(pack(places, f"runs/{run_id}"))
    assert b"mine" in sent
    assert b"canary" not in sent


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 5000), max_size=5), cut=st.integers(1, 700))
def test_it_arrives_as_it_was_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("moved")
    here, there = (Places(home=folder / name).prepare_files() for name in ("here", "there"))
    run_id = new_id("run")
    outputs = here.runs / run_id / "1" / "outputs"
    outputs.mkdir(parents=True)
    for number, size in enumerate(sizes):
        (outputs / f"f{number}").write_bytes(bytes(number for _ in range(size)))
    sent = b"".join(pack(here, f"runs/{run_id}"))
    box = Box(there, f"runs/{run_id}")
    for start in range(0, len(sent), cut):
        box.put(sent[start : start + cut])
    box.finish()
    arrived = {path.name: path.stat().st_size for path in there.runs.rglob("f*")}
    assert arrived == {f"f{number}": size for number, size in enumerate(sizes)}
