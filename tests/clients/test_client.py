"""The Python client: awaited and blocking, one implementation."""

from __future__ import annotations

import asyncio
import inspect
import threading
import typing
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.client import AsyncClient, Client, downloads
from himalia.client.jobs import AsyncJobs, AsyncSchedules
from himalia.client.options import JobOptions
from himalia.client.runs import AsyncRuns
from himalia.core.errors import InvalidInput, NotFound
from himalia.core.model import Output, RunEvent, Status
from himalia.core.service import OpenOutput
from himalia.kinds.job import JobSpec


def test_a_notebook_runs_with_parameters_and_its_results_are_there(
    client: Client, notebook: Any, tmp_path: Path
) -> None:
    path = notebook("open('sum.txt', 'w').write(str(a + b))", parameters="a = b = 0")
    run = client.run(str(path), parameters={"a": 40, "b": 2}, outputs=("*.txt",), wait=True)
    assert run.status is Status.SUCCEEDED
    assert client.runs.read(run.id, "sum.txt") == b"42"
    places = client.runs.download(run.id, tmp_path / "results")
    assert {place.name for place in places} == {"report.ipynb", "sum.txt"}
    assert client.runs.log(run.id).complete


def test_events_are_delivered_in_the_calling_thread(client: Client, notebook: Any) -> None:
    seen: list[tuple[int, RunEvent]] = []
    path = notebook("print(1)", "print(2)")
    run = client.run(
        str(path), wait=True, on_event=lambda event: seen.append((threading.get_ident(), event))
    )
    assert {thread for thread, _ in seen} == {threading.get_ident()}
    assert seen[-1][1].type == "end"
    assert run.progress.done == run.progress.total == 2


def test_what_the_callback_raises_reaches_the_caller(client: Client, notebook: Any) -> None:
    def fail(event: RunEvent) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        client.run(str(notebook("print(1)")), wait=True, on_event=fail)
    assert client.status().version == himalia.__version__


@pytest.mark.asyncio
async def test_the_blocking_client_works_inside_a_running_loop(home: Path) -> None:
    client = Client()
    assert client.environments()[0].is_default
    client.close()
    client.close()


@pytest.mark.asyncio
async def test_the_same_operations_are_awaited(home: Path, notebook: Any) -> None:
    async with AsyncClient() as client:
        job = await client.jobs.create(str(notebook("print(1)")), run=False, tags=("awaited",))
        run = await client.runs.start(job.id)
        assert (await client.runs.wait(run.id)).status is Status.SUCCEEDED
        assert [one.id for one in await client.jobs.list(tag="awaited")] == [job.id]
        renamed = await client.jobs.update(job.id, name="renamed", timeout_seconds=60.0)
        assert (renamed.name, renamed.spec.timeout_seconds) == ("renamed", 60.0)
        assert renamed.spec.tags == ("awaited",)
        await client.jobs.delete(job.id)
        with pytest.raises(NotFound):
            await client.jobs.get(job.id)


def test_waiting_has_an_end_of_its_own_and_the_run_goes_on(client: Client, notebook: Any) -> None:
    run = client.run(str(notebook("import time; time.sleep(600)")))
    with pytest.raises(TimeoutError):
        client.runs.wait(run.id, timeout_seconds=0.5)
    assert not client.runs.get(run.id).status.is_terminal
    client.runs.stop(run.id)
    assert client.runs.wait(run.id).status is Status.STOPPED


def test_a_list_follows_its_pages_until_the_limit(client: Client, notebook: Any) -> None:
    path = str(notebook("print(1)", name="paged.ipynb"))
    made = [client.jobs.create(path, run=False).id for _ in range(3)]
    assert [job.id for job in client.jobs.list(search="paged", limit=2)] == made[:0:-1]
    assert [job.id for job in client.jobs.list(search="paged", limit=None)] == made[::-1]


def test_schedules_are_made_changed_and_deleted(client: Client, notebook: Any) -> None:
    job = client.jobs.create(str(notebook("print(1)")), run=False)
    schedule = client.schedules.create(job.id, "0 6 * * *", time_zone="Europe/Berlin")
    assert client.schedules.update(schedule.id, paused=True).paused
    assert [one.id for one in client.schedules.list(workload_id=job.id)] == [schedule.id]
    client.schedules.delete(schedule.id)
    with pytest.raises(NotFound):
        client.schedules.get(schedule.id)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"unknown": 1}, "unknown"),
        ({"env": {"not a name": "x"}}, "env.not a name"),
        ({"retries": {"count": 99}}, "retries.count"),
    ],
)
def test_a_wrong_field_is_named(
    client: Client, notebook: Any, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        client.run(str(notebook("1")), **options)
    assert [problem.field.removesuffix(".[key]") for problem in caught.value.problems] == [field]


def test_options_and_spec_have_the_same_fields() -> None:
    assert set(typing.get_type_hints(JobOptions)) | {"notebook"} == set(JobSpec.model_fields)


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [("jobs", AsyncJobs), ("runs", AsyncRuns), ("schedules", AsyncSchedules)],
)
def test_no_operation_is_missing_in_the_blocking_client(
    client: Client, blocking: str, awaited: type
) -> None:
    for name, method in inspect.getmembers(awaited, inspect.isroutine):
        if not name.startswith("_"):
            same = getattr(getattr(client, blocking), name)
            assert same.__doc__ == method.__doc__
            assert (
                list(inspect.signature(same).parameters)
                == list(inspect.signature(method).parameters)[1:]
            )


def test_a_relative_path_means_the_process_s_own_folder(
    client: Client, notebook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook("1", name="relative.ipynb")
    (path.parent / "inner").mkdir()
    monkeypatch.chdir(path.parent / "inner")
    assert client.jobs.create("../relative.ipynb", run=False).name == "relative"


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "a/../../escaped", "..", ""])
def test_a_hostile_output_name_is_not_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner" / "results"
    with pytest.raises(InvalidInput):
        asyncio.run(downloads.save(_opened(name), folder, name))
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_link_in_the_results_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "link").symlink_to(outside)
    with pytest.raises(InvalidInput):
        asyncio.run(downloads.save(_opened("link/x"), tmp_path / "results", "link/x"))
    (tmp_path / "results" / "file").symlink_to(outside / "target")
    asyncio.run(downloads.save(_opened("file"), tmp_path / "results", "file"))
    assert not list(outside.iterdir())
    assert (tmp_path / "results" / "file").read_bytes() == b"content"


def _opened(name: str) -> OpenOutput:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"content"

    output = Output(name=name or "x", size_bytes=7, media_type="text/plain", role="file")
    return OpenOutput(output=output, chunks=chunks())


def test_the_package_s_top_has_both_clients() -> None:
    assert himalia.Client is Client
    assert himalia.AsyncClient is AsyncClient
    with pytest.raises(AttributeError):
        _ = himalia.nothing_of_the_kind
