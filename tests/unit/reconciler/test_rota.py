"""Who is observed when: news at once, and nobody forgotten, however many there are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from himalia.backends.base import Observation, Phase
from himalia.core.holding import Rota, Work
from himalia.core.model import Run
from himalia.core.news import News

MANY = 2_000
SEEN = Observation(phase=Phase.RUNNING)


def held(count: int) -> list[Work]:
    """Return so many held runs, each of another owner, that have been seen once."""
    works = [
        Work(
            run=Run.model_construct(id=f"run-{number}", owner=f"owner-{number}"),
            token=1,
            lease_until=datetime.now(UTC),
            is_begun=True,
        )
        for number in range(count)
    ]
    for work in works:
        work.see(SEEN)
    return works


def test_those_of_whom_there_is_news_come_at_once_and_alone() -> None:
    works, rota = held(MANY), Rota(round_seconds=3600)
    rota.take(works)
    for work in works:
        work.see(SEEN)
    assert rota.take(works) == []
    rota.tell({"owner-7", "owner-1999", "somebody-else"})
    assert rota.take(works) == [works[7], works[1999]]


def test_a_turn_is_over_only_when_the_run_was_seen() -> None:
    works, rota = held(3), Rota(round_seconds=3600)
    rota.take(works)
    for work in works:
        work.see(SEEN)
    rota.tell({"owner-1"})
    assert rota.take(works) == [works[1]]
    assert rota.take(works) == [works[1]]
    works[1].see(SEEN)
    assert rota.take(works) == []


def test_news_of_all_is_of_everybody() -> None:
    works, rota = held(MANY), Rota(round_seconds=3600)
    rota.take(works)
    rota.tell(None)
    assert len(rota.take(works)) == MANY


def test_in_rounds_of_bounded_size_everybody_has_their_turn() -> None:
    works, rota = held(MANY), Rota(round_seconds=0)
    met: list[int] = []
    for _ in range(4):
        taken = rota.take(works)
        assert len(set(taken)) == len(taken) == MANY / 4
        for work in taken:
            work.see(SEEN)
            met.append(works.index(work))
    assert sorted(met) == list(range(MANY))


@pytest.mark.asyncio
async def test_news_is_gathered_until_somebody_asks() -> None:
    news = News()
    waiting = asyncio.create_task(news.wait())
    await asyncio.sleep(0)
    news.tell(())
    await asyncio.sleep(0)
    assert not waiting.done()
    news.tell({"a"})
    news.tell({"b"})
    assert await waiting == {"a", "b"}
    news.tell({"c"})
    news.tell(None)
    assert await news.wait() is None
    news.tell({"d"})
    assert await news.wait() == {"d"}
