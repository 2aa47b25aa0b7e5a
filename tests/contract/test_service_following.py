"""Every service: what is seen of a run, live and afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from himalia.core.errors import InvalidInput, NotFound
from himalia.core.model import RunEvent, Status
from himalia.core.spec import Dependency

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_events_tell_the_run_its_cells_its_log_and_its_end(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "print('héllo')", "2"))
    assert workload.last_run is not None
    events = await alice.events(workload.last_run.id)
    assert events[0].type == "run"
    assert [event.type for event in events].count("end") == 1
    assert events[-1].type == "end"
    assert [(e.cell.index, e.cell.state) for e in events if e.cell is not None] == [
        (0, "running"),
        (0, "done"),
        (1, "running"),
        (1, "done"),
    ]
    assert "héllo" in "".join(event.log or "" for event in events)
    runs = [event.run for event in events if event.run is not None]
    assert runs[-1].status is Status.SUCCEEDED
    assert [run.revision for run in runs] == sorted(run.revision for run in runs)


async def test_events_go_on_after_any_of_them(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "print('a')", "print('b')"))
    run = await alice.ended(workload.last_run)
    events = await alice.events(run.id)

    def news(of: list[RunEvent]) -> list[Any]:
        return [event.cell or event.log for event in of if event.type in {"cell", "log"}]

    for index, event in enumerate(events):
        later = await alice.events(run.id, after=event.id)
        assert later[0].type == "run"
        assert news(later) == news(events[index + 1 :])
        assert later[-1].type == "end"


async def test_a_listener_that_leaves_disturbs_nobody(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "1"))
    run = workload.last_run
    assert run is not None
    stream: AsyncIterator[RunEvent] = alice.service.runs.events(alice.caller, run.id)
    async with aclosing(stream):  # type: ignore[type-var]
        assert (await anext(stream)).type == "run"
    assert (await alice.ended(run)).status is Status.SUCCEEDED


async def test_an_event_id_that_is_none_is_refused(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "1"))
    assert workload.last_run is not None
    with pytest.raises(InvalidInput):
        await alice.events(workload.last_run.id, after="nonsense")
    await alice.ended(workload.last_run)


async def test_a_log_is_read_in_parts_from_any_offset(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "print('é' * 500 + 'end')"))
    run = await alice.ended(workload.last_run)
    runs = alice.service.runs
    whole = await runs.log(alice.caller, run.id)
    assert whole.complete
    assert "end" in whole.text
    read, offset = "", 0
    while True:
        chunk = await runs.log(alice.caller, run.id, offset=offset, limit=101)
        assert chunk.offset == offset
        read, offset = read + chunk.text, chunk.next_offset
        if chunk.complete:
            break
    assert read == whole.text
    tail = await runs.log(alice.caller, run.id, offset=-20)
    assert whole.text.endswith(tail.text)
    assert (await runs.log(alice.caller, run.id, offset=10**12)).text == ""


async def test_a_run_that_has_not_started_has_nothing_to_show_yet(alice):
    workload = await alice.idle()
    after = await alice.create(
        alice.notebook("b.ipynb", "1"), after=(Dependency(workload_id=workload.id),)
    )
    run = await alice.ended(after.last_run)
    assert (run.status, run.attempt) == (Status.SKIPPED, 0)
    log = await alice.service.runs.log(alice.caller, run.id)
    assert (log.text, log.complete) == ("", True)
    assert await alice.service.runs.outputs(alice.caller, run.id) == ()
    assert await alice.service.runs.cells(alice.caller, run.id) == ()
    assert [event.type for event in await alice.events(run.id)] == ["run", "end"]


async def test_an_output_that_was_not_left_cannot_be_opened(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "1"))
    run = await alice.ended(workload.last_run)
    for name in ("gone.txt", "../result.json", "/etc/passwd", "", "a\0b", "..\\x"):
        with pytest.raises(NotFound):
            await alice.text(run, name)
