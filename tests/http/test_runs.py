"""Runs, through a Jupyter server."""

from __future__ import annotations

import asyncio
import json

import psutil
import pytest
from tornado.tcpclient import TCPClient

from tests.servers.patience import PATIENCE_SECONDS

NOWHERE = "run-00000000000000000000000000"


@pytest.fixture
def make_run(make_job, ended):
    """Run these cells to the end."""

    async def make(*sources, **spec):
        job = await make_job(*sources, run=True, **spec)
        return await ended(job["last_run"]["id"])

    return make


def events_of(content):
    """Read server-sent events."""
    for block in content.decode().split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        if lines:
            yield {name: value for name, _, value in lines}


async def test_a_run_can_be_read_and_listed(api, make_run):
    run = await make_run("print(1)", tags=["listed-run"])
    assert (await api("GET", f"runs/{run['id']}")).json() == run
    query = {
        "tag": "listed-run",
        "kind": "job",
        "trigger": "user",
        "workload_id": run["workload_id"],
    }
    page = (await api("GET", "runs", params=query)).json()
    assert [item["id"] for item in page["items"]] == [run["id"]]


async def test_several_statuses_can_be_asked_for(api, make_run):
    run = await make_run("print(1)", tags=["two-statuses"])
    query = [("tag", "two-statuses"), ("status", "failed"), ("status", "succeeded")]
    page = await api("GET", "runs", params=query)
    assert [item["id"] for item in page.json()["items"]] == [run["id"]]


async def test_a_run_is_followed_to_its_end_and_again_from_an_event(api, make_run):
    run = await make_run("print('seen')", "2")
    answer = await api("GET", f"runs/{run['id']}/events")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    events = list(events_of(answer.content))
    assert events[0]["event"] == "run"
    assert events[-1]["event"] == "end"
    assert {event["event"] for event in events} == {"run", "cell", "log", "end"}
    assert any("seen" in (json.loads(event["data"])["log"] or "") for event in events)
    middle = next(event for event in events if event["event"] == "cell")
    rest = await api("GET", f"runs/{run['id']}/events", headers={"Last-Event-ID": middle["id"]})
    left = list(events_of(rest.content))
    assert left[-1]["event"] == "end"
    assert middle["id"] not in {event["id"] for event in left if event["event"] == "cell"}


async def test_the_log_is_read_in_parts(api, make_run):
    run = await make_run("print('0123456789')")
    first = (await api("GET", f"runs/{run['id']}/log", params={"limit": 4})).json()
    more = {"offset": first["next_offset"]}
    rest = (await api("GET", f"runs/{run['id']}/log", params=more)).json()
    assert (first["text"] + rest["text"]).startswith("0123456789")
    assert rest["complete"]


async def test_the_cells_of_a_run_have_their_times(api, make_run):
    run = await make_run("1", "2")
    items = (await api("GET", f"runs/{run['id']}/cells")).json()["items"]
    done = [item["cell"]["index"] for item in items if item["cell"]["state"] == "done"]
    assert done == [0, 1]


async def test_outputs_are_listed_and_read(api, make_run):
    run = await make_run("print('in the notebook')")
    (output,) = (await api("GET", f"runs/{run['id']}/outputs")).json()["items"]
    assert output["role"] == "notebook"
    answer = await api("GET", f"runs/{run['id']}/outputs/{output['name']}")
    assert answer.status == 200
    assert len(answer.content) == output["size_bytes"]
    assert "in the notebook" in json.dumps(answer.json())
    assert answer.headers["Content-Disposition"].startswith("inline")
    saved = await api("GET", f"runs/{run['id']}/outputs/{output['name']}", params={"download": "1"})
    assert saved.headers["Content-Disposition"].startswith("attachment")
    assert saved.content == answer.content


async def test_an_output_in_a_folder_is_read_by_its_path(api, make_run):
    source = "import os; os.makedirs('a b/c', exist_ok=True); open('a b/c/ü.txt', 'w').write('x')"
    run = await make_run(source, outputs=["a b/**"])
    names = [
        item["name"] for item in (await api("GET", f"runs/{run['id']}/outputs")).json()["items"]
    ]
    assert "a b/c/ü.txt" in names
    answer = await api("GET", f"runs/{run['id']}/outputs/a b/c/ü.txt")
    assert (answer.status, answer.content) == (200, b"x")


async def test_an_output_that_is_not_there_is_not_found(api, make_run):
    run = await make_run("1")
    answer = await api("GET", f"runs/{run['id']}/outputs/none.txt")
    assert (answer.status, answer.code) == (404, "not_found")


async def test_a_running_run_is_stopped(api, make_job, ended):
    job = await make_job("import time\ntime.sleep(600)", run=True)
    answer = await api("POST", f"runs/{job['last_run']['id']}/stop")
    assert answer.status == 202, answer.content
    assert answer.json()["target"] == "stop"
    assert (await ended(job["last_run"]["id"]))["status"] == "stopped"


async def test_an_ended_run_is_repeated(api, make_run, ended):
    run = await make_run("1 / 0")
    answer = await api("POST", f"runs/{run['id']}/rerun", body={"from_failed_cell": True})
    assert answer.status == 201, answer.content
    again = await ended(answer.json()["id"])
    assert (again["rerun_of"], again["status"]) == (run["id"], "failed")


async def test_an_ended_run_is_deleted(api, make_run):
    run = await make_run("1")
    assert (await api("DELETE", f"runs/{run['id']}")).status == 204
    assert (await api("GET", f"runs/{run['id']}")).status == 404


@pytest.mark.parametrize("part", ["", "/events", "/log", "/cells", "/outputs", "/outputs/a.txt"])
async def test_nothing_of_a_run_that_is_not_there_is_found(api, part):
    answer = await api("GET", f"runs/{NOWHERE}{part}")
    assert (answer.status, answer.code) == (404, "not_found")


async def test_084_who_stops_following_is_let_go_of_by_control_too(
    api, make_job, ended, jp_serverapp, jp_http_port, jp_base_url
):
    job = await make_job("import time\ntime.sleep(600)", run=True)
    run_id = job["last_run"]["id"]
    control = psutil.Process((await api("GET", "status")).json()["pid"])
    before = control.num_fds()
    token = jp_serverapp.identity_provider.token
    followers = []
    for _ in range(20):
        stream = await TCPClient().connect("127.0.0.1", jp_http_port)
        lines = (
            f"GET {jp_base_url}himalia/api/runs/{run_id}/events HTTP/1.1",
            f"Host: localhost:{jp_http_port}",
            f"Authorization: token {token}",
        )
        await stream.write("\r\n".join((*lines, "", "")).encode())
        await stream.read_until(b"event: run")
        followers.append(stream)
    assert control.num_fds() >= before + 15
    for stream in followers:
        stream.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while control.num_fds() >= before + 10:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)
    await api("POST", f"runs/{run_id}/stop")
    assert (await ended(run_id))["status"] == "stopped"
