"""Every store hands each run to one holder at a time, and lets nobody else write about it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from himalia.core.model import Progress, Reason, ResourceUse, Run, Status, Versions
from himalia.core.names import new_id
from himalia.core.spec import Condition, Notification
from himalia.store.base import Change, Held, Store

pytestmark = pytest.mark.asyncio

WHY = Reason(code="cell_failed", message="Cell 3 failed.")


async def test_a_claimed_run_starts_its_next_attempt(store: Store, make: Any) -> None:
    run = await make.queued(store, await make.stored(store))
    (held,) = await make.claimed(store)
    assert held.run == run.model_copy(
        update={"status": Status.STARTING, "attempt": 1, "revision": 1}
    )
    assert await make.claimed(store, "h2") == ()


async def test_a_retry_comes_when_its_time_has_come_and_tells_nothing_of_before(
    store: Store, make: Any
) -> None:
    held = await make.held(store, await make.stored(store))
    later = make.later(100)
    progress = Progress(done=1, total=2)
    again = Change(status=Status.QUEUED, reason=WHY, not_before=later, progress=progress)
    queued = await store.holds.change(held.run.id, held.token, again)
    assert queued is not None
    assert (queued.not_before, queued.reason, queued.progress) == (later, WHY, progress)
    assert await make.claimed(store) == ()
    make.now = later
    (second,) = await make.claimed(store)
    assert second.token > held.token
    assert second.run.attempt == 2
    assert (second.run.reason, second.run.not_before) == (None, None)
    assert second.run.progress == Progress()


async def test_owners_take_turns_and_each_is_first_come_first_served(
    store: Store, make: Any
) -> None:
    busy, quiet = [await make.stored(store, owner=owner) for owner in ("busy", "quiet")]
    many = [await make.queued(store, busy) for _ in range(4)]
    few = [await make.queued(store, quiet) for _ in range(2)]
    order = [held.run.id for held in await make.claimed(store, limit=5)]
    assert order == [many[0].id, few[0].id, many[1].id, few[1].id, many[2].id]
    # Who already has runs waits for who has none.
    late = await make.queued(store, await make.stored(store, owner="late"))
    assert [held.run.id for held in await make.claimed(store, limit=1)] == [late.id]


async def test_an_owner_whose_runs_are_not_due_takes_no_turn(store: Store, make: Any) -> None:
    one, two = [await make.stored(store, owner=owner) for owner in ("one", "two")]
    await make.queued(store, one, not_before=make.later(1000))
    due = await make.queued(store, two)
    assert [held.run.id for held in await make.claimed(store, limit=1)] == [due.id]


async def test_the_place_in_the_queue_is_told(store: Store, make: Any) -> None:
    busy, quiet = [await make.stored(store, owner=owner) for owner in ("busy", "quiet")]
    many = [await make.queued(store, busy) for _ in range(3)]
    last = await make.queued(store, quiet)
    places = [(await store.runs.get("busy", run.id)).position for run in many]
    assert places == [1, 3, 4]
    assert (await store.runs.get("quiet", last.id)).position == 1
    await make.claimed(store)
    assert (await store.runs.get("busy", many[0].id)).position is None


async def test_a_schedules_runs_go_one_after_the_other(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    schedule = await store.schedules.insert(make.schedule(workload))
    first, second = [await make.queued(store, workload, schedule_id=schedule.id) for _ in range(2)]
    (held,) = await make.claimed(store)
    assert held.run.id == first.id
    assert await make.claimed(store) == ()
    await store.holds.change(first.id, held.token, Change(status=Status.SUCCEEDED))
    assert [held.run.id for held in await make.claimed(store)] == [second.id]


async def test_racing_claims_take_each_run_once(open_store: Callable[[], Store], make: Any) -> None:
    stores = [open_store() for _ in range(4)]
    await asyncio.gather(*(one.open() for one in stores))
    workload = await make.stored(stores[0])
    runs = [make.run(workload) for _ in range(60)]
    await stores[0].runs.insert(runs)

    async def take(holder: int) -> list[str]:
        taken: list[str] = []
        while held := await make.claimed(stores[holder], f"h{holder}", limit=3):
            taken += [one.run.id for one in held]
        return taken

    taken = await asyncio.gather(*map(take, range(4)))
    assert Counter(one for some in taken for one in some) == Counter(run.id for run in runs)
    await asyncio.gather(*(one.close() for one in stores))


async def test_a_change_writes_what_it_names_and_leaves_the_rest(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    start = make.tick()
    running = await store.holds.change(
        held.run.id,
        held.token,
        Change(status=Status.RUNNING, started_at=start, progress=Progress(done=0, total=3)),
    )
    assert running == held.run.model_copy(
        update={
            "status": Status.RUNNING,
            "started_at": start,
            "progress": Progress(done=0, total=3),
            "revision": 2,
        }
    )
    end = make.tick()
    use, versions = ResourceUse(cpu_seconds=1), Versions(kernel="python3")
    failed = await store.holds.change(
        held.run.id,
        held.token,
        Change(
            status=Status.FAILED,
            reason=WHY,
            lost_attempts=1,
            ended_at=end,
            use=use,
            versions=versions,
        ),
    )
    assert failed == running.model_copy(
        update={
            "status": Status.FAILED,
            "reason": WHY,
            "lost_attempts": 1,
            "ended_at": end,
            "use": use,
            "versions": versions,
            "revision": 3,
        }
    )
    assert await store.runs.get("ann", held.run.id) == failed


async def test_the_end_takes_the_reason_as_it_is_given(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    await store.holds.change(held.run.id, held.token, Change(status=Status.RUNNING, reason=WHY))
    ended = await store.holds.change(held.run.id, held.token, Change(status=Status.SUCCEEDED))
    assert ended is not None
    assert ended.reason is None


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.QUEUED])
async def test_nothing_is_written_after_the_hold_has_ended(
    store: Store, make: Any, status: Status
) -> None:
    held = await make.held(store, await make.stored(store))
    last = await store.holds.change(held.run.id, held.token, Change(status=status))
    assert last is not None
    for late in (Status.RUNNING, Status.FAILED):
        assert await store.holds.change(held.run.id, held.token, Change(status=late)) is None
    stored = await store.runs.get("ann", held.run.id)
    assert stored.model_copy(update={"position": None}) == last


async def test_nothing_is_written_under_another_token(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    for token in (held.token - 1, held.token + 1):
        assert await store.holds.change(held.run.id, token, Change(status=Status.FAILED)) is None
    absent = await store.holds.change(new_id("run"), held.token, Change(status=Status.FAILED))
    assert absent is None
    assert await store.runs.get("ann", held.run.id) == held.run


async def test_of_racing_ends_one_is_written(open_store: Callable[[], Store], make: Any) -> None:
    stores = [open_store() for _ in range(2)]
    await asyncio.gather(*(one.open() for one in stores))
    held = await make.held(stores[0], await make.stored(stores[0]))
    ends = await asyncio.gather(
        *(
            stores[number % 2].holds.change(held.run.id, held.token, Change(status=status))
            for number, status in enumerate((Status.SUCCEEDED, Status.FAILED) * 3)
        )
    )
    (written,) = [end for end in ends if end is not None]
    assert await stores[1].runs.get("ann", held.run.id) == written
    await asyncio.gather(*(one.close() for one in stores))


async def test_a_lease_that_ran_out_is_taken_over_and_the_slow_holder_writes_nothing(
    store: Store, make: Any
) -> None:
    held = await make.held(store, await make.stored(store))
    until = make.later(120)
    assert await store.holds.take_over("h2", now=make.later(59), lease_until=until) == ()
    (taken,) = await store.holds.take_over("h2", now=make.later(61), lease_until=until)
    assert taken.run.id == held.run.id
    assert taken.token > held.token
    assert taken.run.attempt == held.run.attempt
    end = Change(status=Status.SUCCEEDED)
    assert await store.holds.change(held.run.id, held.token, end) is None
    assert await store.holds.renew("h1", [(held.run.id, held.token)], until) == {held.run.id}
    assert await store.holds.change(held.run.id, taken.token, end) is not None


async def test_a_restarted_holder_takes_its_own_runs_at_once(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    now, until = make.now, make.later(60)
    assert await store.holds.take_over("h1", now=now, lease_until=until, own=False) == ()
    (taken,) = await store.holds.take_over("h1", now=now, lease_until=until)
    assert taken.token > held.token
    # What it held before the restart is no longer its own.
    assert await store.holds.renew("h1", [(held.run.id, held.token)], until) == {held.run.id}
    assert await store.holds.renew("h1", [(held.run.id, taken.token)], until) == frozenset()


async def test_a_renewed_lease_is_not_taken_over(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    until = make.later(600)
    asked = [(held.run.id, held.token), (new_id("run"), 1)]
    assert await store.holds.renew("h1", asked, until) == {asked[1][0]}
    assert await store.holds.take_over("h2", now=make.later(599), lease_until=until) == ()
    assert len(await store.holds.take_over("h2", now=until, lease_until=until)) == 1


async def test_queued_and_ended_runs_are_not_taken_over(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    held = await make.held(store, workload)
    await store.holds.change(held.run.id, held.token, Change(status=Status.FAILED))
    await make.queued(store, workload)
    later = make.later(10_000)
    assert await store.holds.take_over("h1", now=later, lease_until=later) == ()


async def test_unended_runs_are_counted_by_status(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    await make.held(store, workload)
    await make.queued(store, workload)
    await make.queued(store, workload, status=Status.WAITING)
    await make.queued(store, workload, status=Status.FAILED)
    counts = {Status.STARTING: 1, Status.QUEUED: 1, Status.WAITING: 1}
    assert await store.runs.counts() == counts
    assert await store.runs.counts(workload.owner) == counts
    assert await store.runs.counts("somebody-else") == {}


NOTIFY = (
    Notification(on=(Condition.SUCCESS,), webhook="https://x.example/ok"),
    Notification(on=(Condition.FAILURE,), webhook="https://x.example/bad", secret="12345678"),
    Notification(
        on=(Condition.END, Condition.SUCCESS), webhook="https://x.example/end", email="a@b.example"
    ),
)
_END = {"https://x.example/end", "a@b.example"}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (Status.SUCCEEDED, {"https://x.example/ok", *_END}),
        (Status.FAILED, {"https://x.example/bad", *_END}),
        (Status.STOPPED, _END),
        (Status.RUNNING, set()),
        (Status.QUEUED, set()),
    ],
)
async def test_the_end_stores_the_messages_that_are_asked_for(
    store: Store, make: Any, status: Status, told: set[str]
) -> None:
    held = await make.held(store, await make.stored(store, notify=NOTIFY))
    end = make.later(5)
    change = Change(status=status, ended_at=end if status.is_terminal else None)
    run = await store.holds.change(held.run.id, held.token, change)
    assert await store.holds.change(held.run.id, held.token + 7, change) is None
    messages = await store.messages.due(end, 100)
    assert {message.webhook or message.email for message in messages} == told
    for message in messages:
        assert (message.owner, message.run_id, message.tries) == ("ann", held.run.id, 0)
        assert Run.model_validate(message.body["run"]) == run
        assert message.secret == ("12345678" if message.webhook == NOTIFY[1].webhook else None)
        assert "12345678" not in f"{message}{message.body}"


async def test_a_run_stopped_in_the_queue_is_told_of_too(store: Store, make: Any) -> None:
    workload = await make.stored(store, notify=NOTIFY)
    run = await make.queued(store, workload)
    await store.runs.request_stop("ann", run.id, make.tick())
    messages = await store.messages.due(make.now, 100)
    assert {message.webhook or message.email for message in messages} == _END
    await store.runs.request_stop("ann", run.id, make.tick())
    assert len(await store.messages.due(make.now, 100)) == 2


async def test_a_message_is_tried_later_and_then_forgotten(store: Store, make: Any) -> None:
    workload = await make.stored(store, notify=NOTIFY[2:])
    run = await make.queued(store, workload)
    await store.runs.request_stop("ann", run.id, make.now)
    await store.runs.delete("ann", run.id)
    one, two = await store.messages.due(make.now, 100)
    later = make.later(30)
    await store.messages.retry(one.id, later)
    assert await store.messages.due(make.now, 100) == (two,)
    await store.messages.sent(two.id)
    (again,) = await store.messages.due(later, 100)
    assert (again.id, again.tries, again.body) == (one.id, 1, one.body)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "take", "write", "renew", "stop", "wait"]),
        st.sampled_from(["h1", "h2"]),
        st.sampled_from([Status.RUNNING, Status.QUEUED, Status.SUCCEEDED, Status.FAILED]),
    ),
    max_size=25,
)


@dataclass(kw_only=True)
class _Expected:
    """What must be true of one run, whoever does what with it."""

    store: Store
    make: Any
    run: Run
    tokens: dict[str, int] = field(default_factory=dict)
    valid: int = 0
    highest: int = 0
    end: Run | None = None

    def hold(self, holder: str, taken: tuple[Held, ...]) -> None:
        for held in taken:
            if held.run.id == self.run.id:
                assert held.token > self.highest
                assert self.end is None
                self.valid = self.highest = self.tokens[holder] = held.token

    async def claim(self, holder: str, _: Status) -> None:
        self.hold(holder, await self.make.claimed(self.store, holder))

    async def take(self, holder: str, _: Status) -> None:
        now, until = self.make.now, self.make.later(60)
        self.hold(holder, await self.store.holds.take_over(holder, now=now, lease_until=until))

    async def write(self, holder: str, status: Status) -> None:
        if holder in self.tokens:
            token = self.tokens[holder]
            written = await self.store.holds.change(self.run.id, token, Change(status=status))
            assert (written is not None) == (token == self.valid)
            if written is not None and status is not Status.RUNNING:
                self.valid = 0

    async def renew(self, holder: str, _: Status) -> None:
        if holder in self.tokens:
            token = self.tokens[holder]
            asked = [(self.run.id, token)]
            lost = await self.store.holds.renew(holder, asked, self.make.later(60))
            assert bool(lost) == (token != self.valid)

    async def stop(self, _: str, __: Status) -> None:
        await self.store.runs.request_stop(self.run.owner, self.run.id, self.make.now)

    async def wait(self, _: str, __: Status) -> None:
        self.make.now = self.make.later(61)

    async def look(self) -> None:
        seen = await self.store.runs.get(self.run.owner, self.run.id)
        assert self.end is None or seen == self.end
        if seen.status.is_terminal:
            self.end, self.valid = seen, 0


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
async def test_whatever_happens_only_the_holder_writes_and_an_end_is_final(
    store: Store, make: Any, steps: list[tuple[str, str, Status]]
) -> None:
    run = await make.queued(store, await make.stored(store, owner=new_id("usr")))
    expected = _Expected(store=store, make=make, run=run)
    for step, holder, status in steps:
        make.tick()
        await getattr(expected, step)(holder, status)
        await expected.look()
