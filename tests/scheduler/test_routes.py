"""jupyter-scheduler's own routes, unmodified, over our service."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from himalia.scheduler import HimaliaEnvironments, HimaliaScheduler


async def test_the_shipped_configuration_is_the_one_that_upstream_reads(jp_serverapp: Any) -> None:
    settings = jp_serverapp.web_app.settings
    assert isinstance(settings["scheduler"], HimaliaScheduler)
    assert isinstance(settings["environments_manager"], HimaliaEnvironments)


async def test_a_job_is_created_runs_and_its_files_are_downloaded(
    ask: Any, create: Any, ended_job: Any, write_notebook: Any, jp_root_dir: Path
) -> None:
    before = int(time.time() * 1000) - 1000
    job_id = await create(write_notebook("print('six', 2 * 3)"), output_formats=["ipynb", "html"])
    assert re.fullmatch(r"\w+(?:-\w+)+", job_id)
    job = await ended_job(job_id)
    assert job["status"] == "COMPLETED"
    assert before < job["create_time"] <= job["start_time"] <= job["end_time"]
    assert job["input_filename"] == "nb.ipynb"
    assert job["downloaded"] is False
    assert {one["file_format"] for one in job["job_files"]} == {"ipynb", "html", "input"}
    assert all("file_path" not in one or one["file_path"] is None for one in job["job_files"])

    assert (await ask("GET", f"jobs/{job_id}/download_files", redownload="false"))[0] == 204
    _, job = await ask("GET", f"jobs/{job_id}")
    assert job["downloaded"] is True
    files = {one["file_format"]: jp_root_dir / one["file_path"] for one in job["job_files"]}
    executed = nbformat.read(files["ipynb"], as_version=4)
    assert executed.cells[0].outputs[0].text == "six 6\n"
    assert "six 6" in files["html"].read_text()
    submitted = nbformat.read(files["input"], as_version=4)
    assert submitted.cells[0].source == "print('six', 2 * 3)"
    assert submitted.cells[0].outputs == []


async def test_files_are_downloaded_again_only_when_asked(
    ask: Any, create: Any, ended_job: Any, write_notebook: Any, jp_root_dir: Path
) -> None:
    job_id = await create(write_notebook("print(1)"))
    await ended_job(job_id)
    await ask("GET", f"jobs/{job_id}/download_files")
    _, job = await ask("GET", f"jobs/{job_id}")
    path = jp_root_dir / job["job_files"][0]["file_path"]
    path.write_text("mine")
    await ask("GET", f"jobs/{job_id}/download_files", redownload="false")
    assert path.read_text() == "mine"
    await ask("GET", f"jobs/{job_id}/download_files", redownload="true")
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", "3"),
        ("'north'", "'north'"),
        ("north", "'north'"),
        ("[1, 2.5, None]", "[1, 2.5, None]"),
        ("{'a': True}", "{'a': True}"),
        ("true", "True"),
        ("2024-01-01", "'2024-01-01'"),
        ("1\nimport os; os.system('x')", "\"1\\nimport os; os.system('x')\""),
    ],
)
async def test_parameters_keep_their_meaning(
    create: Any, ended_job: Any, write_notebook: Any, text: str, value: str
) -> None:
    name = write_notebook("print(repr(x))")
    job = await ended_job(await create(name, parameters={"x": text}))
    assert job["status"] == "COMPLETED", job
    assert job["parameters"] == {"x": value}


@pytest.mark.parametrize(
    "text", ["__import__('os').system('id')", "60*60", "{1, 2}", "b'x'", "1e999", "f'{x}'"]
)
async def test_a_parameter_that_would_have_to_be_computed_is_refused(
    ask: Any, write_notebook: Any, text: str
) -> None:
    body = {
        "name": "mine",
        "input_uri": write_notebook("x"),
        "runtime_environment_name": "",
        "parameters": {"x": text},
    }
    status, answer = await ask("POST", "jobs", body)
    assert status == 409
    assert "parameters.x" in json.dumps(answer)


@pytest.mark.parametrize("path", ["missing.ipynb", "../outside.ipynb", "/etc/passwd", "folder"])
async def test_an_input_that_cannot_be_run_is_the_user_s_mistake(
    ask: Any, jp_root_dir: Path, path: str
) -> None:
    (jp_root_dir / "folder").mkdir()
    (jp_root_dir.parent / "outside.ipynb").write_text("{}")
    body = {"name": "mine", "input_uri": path, "runtime_environment_name": ""}
    status, answer = await ask("POST", "jobs", body)
    assert status == 409
    assert "notebook" in json.dumps(answer)


async def test_a_job_is_stopped(ask: Any, create: Any, ended_job: Any, write_notebook: Any) -> None:
    job_id = await create(write_notebook("import time; time.sleep(600)"))
    assert (await ask("PATCH", f"jobs/{job_id}", {"status": "STOPPED"}))[0] == 204
    assert (await ended_job(job_id))["status"] == "STOPPED"


async def test_a_failed_job_says_why(create: Any, ended_job: Any, write_notebook: Any) -> None:
    job = await ended_job(await create(write_notebook("1/0")))
    assert job["status"] == "FAILED"
    assert "ZeroDivisionError" in job["status_message"]


async def test_a_running_job_is_deleted_with_what_it_was_made_from(
    ask: Any, create: Any, api: Any, write_notebook: Any
) -> None:
    job_id = await create(write_notebook("import time; time.sleep(600)"), name="to delete")
    assert (await ask("DELETE", f"jobs/{job_id}"))[0] == 204
    assert (await ask("GET", f"jobs/{job_id}"))[0] == 500
    assert (await ask("DELETE", f"jobs/{job_id}"))[0] == 204
    assert (await api("GET", "jobs", params={"search": "to delete"})).json()["items"] == []


async def test_many_jobs_are_deleted_at_once(
    jp_fetch: Any, create: Any, ended_job: Any, ask: Any, write_notebook: Any
) -> None:
    ids = [await create(write_notebook("1"), name="batch") for _ in range(2)]
    for job_id in ids:
        await ended_job(job_id)
    answer = await jp_fetch(
        "scheduler", "batch", "jobs", method="DELETE", params=[("job_id", one) for one in ids]
    )
    assert answer.code == 204
    assert (await ask("GET", "jobs", name="batch"))[1]["jobs"] == []


async def test_the_same_token_makes_one_job(ask: Any, create: Any, write_notebook: Any) -> None:
    name = write_notebook("1")
    token = f"token-{time.time_ns()}"
    first = await create(name, idempotency_token=token)
    assert await create(name, idempotency_token=token) == first
    body = {"name": "other", "input_uri": name, "runtime_environment_name": ""}
    status, answer = await ask("POST", "jobs", body | {"idempotency_token": token})
    assert status == 409
    assert token in json.dumps(answer)


async def test_jobs_are_listed_in_pages_sorted_and_filtered(
    ask: Any, create: Any, ended_job: Any, write_notebook: Any
) -> None:
    name = write_notebook("1")
    tag = f"list-{time.time_ns()}"
    ids = [await create(name, name=f"listed {letter}", tags=[tag]) for letter in "bca"]
    for job_id in ids:
        await ended_job(job_id)
    _, first = await ask("GET", "jobs", tags=tag, max_items=2, sort_by="desc(create_time)")
    assert [job["job_id"] for job in first["jobs"]] == [ids[2], ids[1]]
    _, rest = await ask(
        "GET", "jobs", tags=tag, max_items=2, sort_by="desc(create_time)",
        next_token=first["next_token"],
    )  # fmt: skip
    assert [job["job_id"] for job in rest["jobs"]] == [ids[0]]
    assert rest["total_count"] == 3
    assert "next_token" not in rest
    _, by_name = await ask("GET", "jobs", tags=tag, max_items=2, sort_by="asc(name)")
    assert [job["name"] for job in by_name["jobs"]] == ["listed a", "listed b"]
    _, second = await ask(
        "GET", "jobs", tags=tag, max_items=2, sort_by="asc(name)", next_token=by_name["next_token"]
    )
    assert [job["name"] for job in second["jobs"]] == ["listed c"]
    _, done = await ask("GET", "jobs", tags=tag, status="completed")
    assert len(done["jobs"]) == 3
    assert (await ask("GET", "jobs", tags=tag, status="FAILED"))[1]["jobs"] == []
    assert (await ask("GET", "jobs", max_items=0))[1]["jobs"] == []
    _, named = await ask("GET", "jobs", name="listed c")
    assert [job["name"] for job in named["jobs"]] == ["listed c"]
    assert named["jobs"][0]["tags"] == [tag]


async def test_jobs_are_counted(ask: Any, create: Any, ended_job: Any, write_notebook: Any) -> None:
    _, before = await ask("GET", "jobs/count", status="COMPLETED")
    await ended_job(await create(write_notebook("1")))
    _, after = await ask("GET", "jobs/count", status="COMPLETED")
    assert after["count"] == before["count"] + 1
    assert (await ask("GET", "jobs/count"))[1]["count"] >= 0
    assert (await ask("GET", "jobs/count", status="CREATED"))[1]["count"] == 0


async def test_a_folder_goes_with_its_notebook(
    ask: Any, create: Any, ended_job: Any, write_notebook: Any, jp_root_dir: Path
) -> None:
    (jp_root_dir / "data").mkdir()
    (jp_root_dir / "data" / "in.txt").write_text("input")
    source = "text = open('data/in.txt').read()\nopen('out.txt', 'w').write(text.upper())"
    job_id = await create(write_notebook(source), package_input_folder=True)
    job = await ended_job(job_id)
    assert job["status"] == "COMPLETED", job
    assert {"data/in.txt", "out.txt"} <= set(job["packaged_files"])
    await ask("GET", f"jobs/{job_id}/download_files")
    _, job = await ask("GET", f"jobs/{job_id}")
    assert job["downloaded"] is True
    folder = next(one["file_path"] for one in job["job_files"] if one["file_format"] == "files")
    assert (jp_root_dir / folder / "out.txt").read_text() == "INPUT"
    assert (jp_root_dir / folder / "data" / "in.txt").read_text() == "input"


async def test_downloads_do_not_follow_links_out_of_the_root(
    ask: Any, create: Any, ended_job: Any, write_notebook: Any, jp_root_dir: Path
) -> None:
    outside = jp_root_dir.parent / "elsewhere"
    outside.mkdir()
    (jp_root_dir / "jobs").symlink_to(outside)
    job_id = await create(write_notebook("1"))
    await ended_job(job_id)
    assert (await ask("GET", f"jobs/{job_id}/download_files"))[0] == 500
    assert list(outside.iterdir()) == []


async def test_environments_are_the_kernels_after_the_notebook_s_own(ask: Any) -> None:
    status, environments = await ask("GET", "runtime_environments")
    assert status == 200
    assert environments[0]["name"] == "Kernel of the notebook"
    assert all(one["label"] == one["name"] for one in environments)
    assert "python3" in {one["name"] for one in environments}
    assert {"name": "html", "label": "HTML"} in environments[0]["output_formats"]


async def test_a_definition_ticks_pauses_runs_at_once_and_is_deleted(
    ask: Any, ended_job: Any, write_notebook: Any
) -> None:
    body = {
        "name": "nightly",
        "input_uri": write_notebook("print(x)"),
        "runtime_environment_name": "python3",
        "output_formats": ["ipynb"],
        "parameters": {"x": "1"},
        "schedule": "0 6 * * 1-5",
        "timezone": "Europe/Berlin",
    }
    status, made = await ask("POST", "job_definitions", body)
    assert status == 200, made
    definition_id = made["job_definition_id"]
    path = f"job_definitions/{definition_id}"
    _, definition = await ask("GET", path)
    assert definition["schedule"] == "0 6 * * 1-5"
    assert definition["timezone"] == "Europe/Berlin"
    assert definition["active"] is True
    assert definition["parameters"] == {"x": "1"}
    assert definition["runtime_environment_name"] == "python3"

    assert (await ask("PATCH", path, {"active": False}))[0] == 204
    assert (await ask("GET", path))[1]["active"] is False
    changes = {"schedule": "0 7 * * *", "timezone": "UTC", "name": "daily", "active": True}
    assert (await ask("PATCH", path, changes))[0] == 204
    _, definition = await ask("GET", path)
    assert [definition[name] for name in changes] == list(changes.values())

    status, started = await ask("POST", f"{path}/jobs", {"parameters": {"x": "'two'"}})
    assert status == 200, started
    job = await ended_job(started["job_id"])
    assert job["job_definition_id"] == definition_id
    assert job["parameters"] == {"x": "'two'"}
    _, listed = await ask("GET", "jobs", job_definition_id=definition_id)
    assert [one["job_id"] for one in listed["jobs"]] == [started["job_id"]]

    _, definitions = await ask("GET", "job_definitions", name="daily")
    assert [one["job_definition_id"] for one in definitions["job_definitions"]] == [definition_id]
    assert (await ask("DELETE", path))[0] == 204
    assert (await ask("GET", path))[0] == 500
    assert (await ask("GET", f"jobs/{started['job_id']}"))[0] == 500


async def test_a_definition_needs_no_schedule(ask: Any, write_notebook: Any) -> None:
    body = {"name": "by hand", "input_uri": write_notebook("1"), "runtime_environment_name": ""}
    _, made = await ask("POST", "job_definitions", body)
    _, definition = await ask("GET", f"job_definitions/{made['job_definition_id']}")
    assert definition["active"] is False
    assert definition["tags"] == []


async def test_a_bad_cron_line_leaves_nothing_behind(
    ask: Any, api: Any, write_notebook: Any
) -> None:
    body = {
        "name": "never",
        "input_uri": write_notebook("1"),
        "runtime_environment_name": "",
        "schedule": "61 * * * *",
    }
    status, answer = await ask("POST", "job_definitions", body)
    assert status == 500
    assert "cron" in json.dumps(answer)
    assert (await api("GET", "jobs", params={"search": "never"})).json()["items"] == []


async def test_requests_at_once_do_not_get_into_each_other_s_way(
    ask: Any, create: Any, write_notebook: Any
) -> None:
    name = write_notebook("1")
    ids = await asyncio.gather(*(create(name, name="many") for _ in range(8)))
    assert len(set(ids)) == 8
    answers = await asyncio.gather(*(ask("GET", f"jobs/{job_id}") for job_id in ids))
    assert {status for status, _ in answers} == {200}
