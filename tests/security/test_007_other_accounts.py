"""Threats 7, 39 and 40: through jobs of their own, nobody sees what is another's, or control's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import pytest_asyncio

from himalia.agents.fleet import Agents
from himalia.core.errors import HimaliaError, InvalidInput
from himalia.core.local import LocalService
from himalia.core.model import Status, WorkloadDraft
from himalia.core.service import Caller
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from tests.servers.people import People, Resident, served

pytestmark = pytest.mark.asyncio

SECRET = "alices-own-figures"
TRIES = """
import os
from pathlib import Path
def attempt(what, do):
    try:
        print(what, 'SEEN', do())
    except OSError as error:
        print(what, type(error).__name__)
"""
WAITS = "import time; time.sleep(600)"


class Site(NamedTuple):
    """A service, its agents, and two people."""

    service: LocalService
    agents: Agents
    alice: Resident
    bob: Resident
    control: Path

    @property
    def is_apart(self) -> bool:
        """Whether the two have accounts of their own."""
        return self.alice.account.uid is not None


@pytest_asyncio.fixture
async def site(people: People) -> AsyncIterator[Site]:
    """Control's own state lies beside the homes, where everybody may pass."""
    folder = people.folder / "hub"
    folder.mkdir(mode=0o711, exist_ok=True)
    async with served(people, folder) as (service, agents):
        alice, bob = (Resident(people, service, name) for name in ("alice", "bob"))
        yield Site(service, agents, alice, bob, folder / "control")


async def tried(site: Site, *tries: str) -> str:
    """Have a job of Bob's try this, and return what came of it."""
    run = await site.bob.ended((await site.bob.job(TRIES + "\n".join(tries))).last_run)
    assert run.status is Status.SUCCEEDED, run.reason
    return await site.bob.said(run)


async def test_007_files_of_another_are_out_of_reach(site: Site) -> None:
    alice = site.alice
    run = await alice.until(
        (await alice.job(f"print('{SECRET}', flush=True)", WAITS)).last_run, Status.RUNNING
    )
    (alice.account.home / "diary").write_text(SECRET)
    state = alice.account.state(alice.owner)
    places = {
        "home": alice.account.home,
        "diary": alice.account.home / "diary",
        "attempt": state / "runs" / run.id / "1" / "plan.json",
        "log": state / "runs" / run.id / "1" / "log",
        "snapshots": state / "snapshots",
        "store": site.control / "store.db",
        "control": site.control,
        "homes": alice.account.home.parent,
        "shadow": Path("/etc/shadow"),
    }
    said = await tried(
        site,
        *(
            f"attempt({name!r}, lambda: os.listdir({str(path)!r}) "
            f"if os.path.isdir({str(path)!r}) else open({str(path)!r}, 'rb').read())"
            for name, path in places.items()
        ),
        f"attempt('write', lambda: open({str(alice.account.home / 'x')!r}, 'w'))",
        f"attempt('link', lambda: os.link({str(places['diary'])!r}, 'mine'))",
    )
    lines = dict(line.split(" ", 1) for line in said.splitlines())
    assert set(lines) == {*places, "write", "link"}
    if site.is_apart:
        assert set(lines.values()) <= {"PermissionError", "FileNotFoundError"}, lines
    else:
        # One account is one person: that is what the product says of it.
        assert lines["diary"].startswith("SEEN")
    await site.service.runs.stop(alice.caller, run.id)
    await alice.ended(run)


async def test_007_processes_of_another_tell_nothing(site: Site) -> None:
    alice = site.alice
    token = f"token-{SECRET}"
    job = await alice.job("import os; print(os.getpid(), flush=True)", WAITS, env={"MY_KEY": token})
    run = await alice.until(job.last_run, Status.RUNNING)
    said = ""
    while "\n" not in said:
        said = await alice.said(run)
    kernel = int(said)
    assert token in psutil.Process(kernel).environ().values()
    pids = {"kernel": kernel, "agent": site.agents.pid(alice.owner), "control": os.getpid()}
    said = await tried(
        site,
        *(
            f"attempt('{who}-{file}', lambda: open('/proc/{pid}/{file}', 'rb').read(1))"
            for who, pid in pids.items()
            for file in ("environ", "mem", "maps")
        ),
        *(
            f"attempt('{who}-fd', lambda: os.listdir('/proc/{pid}/fd'))"
            for who, pid in pids.items()
        ),
        *(f"attempt('{who}-kill', lambda: os.kill({pid}, 0))" for who, pid in pids.items()),
        "import glob\n"
        "seen = []\n"
        "for name in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    try:\n"
        "        seen.append(open(name, 'rb').read())\n"
        "    except OSError:\n"
        "        pass\n"
        "print('everything', 'SEEN' if b'alices-own' + b'-figures' in b''.join(seen) else 'no')",
    )
    lines = dict(line.split(" ", 1) for line in said.splitlines())
    assert len(lines) == 16
    if site.is_apart:
        assert not [line for line in said.splitlines() if " SEEN" in line], said
    else:
        assert lines["kernel-environ"].startswith("SEEN")
    await site.service.runs.stop(alice.caller, run.id)
    await alice.ended(run)


async def test_007_a_run_gets_no_rights_by_a_programs_set_uid_bit(site: Site) -> None:
    said = await tried(
        site,
        "status = Path('/proc/self/status').read_text()\n"
        "print(*[line for line in status.splitlines() if line.startswith(('NoNew', 'Uid'))])",
    )
    assert "NoNewPrivs:\t1" in said
    if site.is_apart:
        assert f"Uid:\t{site.bob.account.uid}\t" in said


async def test_011_a_run_has_nothing_of_controls_in_its_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JUPYTERHUB_API_TOKEN", "CONFIGPROXY_AUTH_TOKEN", "HIMALIA_STORE", "PGPASSWORD"):
        monkeypatch.setenv(name, "canary")
    await site.agents.end(site.bob.owner)
    said = await tried(site, "print(dict(os.environ))")
    assert "canary" not in said
    assert str(site.bob.account.home) in said


@pytest.mark.parametrize("root", ["home", "everything"])
async def test_039_a_link_in_a_home_is_read_with_its_owners_rights_alone(
    site: Site, root: str
) -> None:
    bob = site.bob
    (site.alice.account.home / "diary").write_text(SECRET)
    targets = [site.alice.account.home / "diary", site.control / "store.db", Path("/etc/shadow")]
    if root == "everything":
        bob.caller = Caller(owner=bob.owner, root=Path("/"))
    home = bob.account.home / "links"
    home.mkdir(exist_ok=True)
    for number, target in enumerate(targets):
        link = home / f"{root}{number}.ipynb"
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        if site.is_apart or root == "home":
            with pytest.raises(InvalidInput):
                await pinned(site, link)
    state = bob.account.state(bob.owner)
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert b"root:" not in kept


async def pinned(site: Site, link: Path) -> None:
    """Have control pin what a link of Bob's leads to: as the notebook, and beside one."""
    draft = WorkloadDraft[Spec](spec=JobSpec(notebook=str(link)), run=False)
    await site.service.workloads.create(site.bob.caller, "job", draft)


async def test_039_a_state_folder_that_leads_elsewhere_is_refused(
    people: People, site: Site
) -> None:
    carol = Resident(people, site.service, "carol")
    await site.agents.end(carol.owner)
    folder = carol.account.state(carol.owner)
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(site.alice.account.state(site.alice.owner))
    try:
        with pytest.raises(HimaliaError):
            await carol.job("1")
    finally:
        folder.unlink()
    if site.is_apart:
        assert site.alice.account.home.stat().st_uid == site.alice.account.uid


async def test_040_what_is_no_file_hangs_nothing(site: Site) -> None:
    pipe = site.bob.caller.root / "pipe"
    os.mkfifo(pipe)
    job = await site.bob.job("1", files=("pipe",))
    assert job.snapshot is not None
    assert job.snapshot.skipped == ("pipe: neither a file nor a folder",)
    await site.bob.ended(job.last_run)
