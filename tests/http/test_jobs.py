"""Jobs, through a Jupyter server."""

from __future__ import annotations

NOWHERE = "job-00000000000000000000000000"


async def test_a_job_is_made_with_its_first_run(api, write_notebook, ended):
    body = {"spec": {"notebook": write_notebook("print(40 + 2)")}, "name": "Sums"}
    answer = await api("POST", "jobs", body=body)
    assert answer.status == 201, answer.content
    job = answer.json()
    assert job["name"] == "Sums"
    run = await ended(job["last_run"]["id"])
    assert run["status"] == "succeeded", run["reason"]


async def test_a_job_can_be_read_and_listed(api, make_job):
    job = await make_job(tags=["readable"])
    assert (await api("GET", f"jobs/{job['id']}")).json()["id"] == job["id"]
    page = (await api("GET", "jobs", params={"tag": "readable", "limit": 5})).json()
    assert [item["id"] for item in page["items"]] == [job["id"]]
    assert page["next_cursor"] is None


async def test_a_list_goes_on_after_its_cursor(api, make_job):
    made = [(await make_job(tags=["paged"]))["id"] for _ in range(3)]
    first = (await api("GET", "jobs", params={"tag": "paged", "limit": 2})).json()
    more = {"tag": "paged", "limit": 2, "cursor": first["next_cursor"]}
    second = (await api("GET", "jobs", params=more)).json()
    found = [item["id"] for item in (*first["items"], *second["items"])]
    assert found == made[::-1]


async def test_a_changed_job_keeps_what_was_not_named(api, make_job):
    job = await make_job(tags=["kept"])
    answer = await api("PATCH", f"jobs/{job['id']}", body={"name": "Renamed"})
    assert answer.status == 200, answer.content
    assert (answer.json()["name"], answer.json()["spec"]["tags"]) == ("Renamed", ["kept"])


async def test_a_deleted_job_is_gone(api, make_job):
    job = await make_job()
    answer = await api("DELETE", f"jobs/{job['id']}")
    assert (answer.status, answer.content) == (204, b"")
    assert (await api("GET", f"jobs/{job['id']}")).status == 404


async def test_the_pipeline_around_a_job_is_shown(api, make_job):
    first = await make_job()
    second = await make_job(after=[{"workload_id": first["id"]}])
    graph = (await api("GET", f"jobs/{second['id']}/graph")).json()
    assert {node["workload_id"] for node in graph["nodes"]} == {first["id"], second["id"]}
    (edge,) = graph["edges"]
    assert (edge["upstream"], edge["downstream"]) == (first["id"], second["id"])


async def test_a_job_can_be_run_again_and_its_runs_listed(api, make_job, ended):
    job = await make_job("x = 1\nprint(x)")
    answer = await api("POST", f"jobs/{job['id']}/runs")
    assert answer.status == 201, answer.content
    run = await ended(answer.json()["id"])
    page = (await api("GET", f"jobs/{job['id']}/runs", params={"status": "succeeded"})).json()
    assert [item["id"] for item in page["items"]] == [run["id"]]


async def test_runs_of_a_job_that_is_not_there_are_not_an_empty_list(api):
    answer = await api("GET", f"jobs/{NOWHERE}/runs")
    assert (answer.status, answer.code) == (404, "not_found")


async def test_the_same_key_makes_one_job(api, write_notebook):
    body = {"spec": {"notebook": write_notebook("1")}, "run": False}
    headers = {"Idempotency-Key": "once-and-only-once"}
    first = await api("POST", "jobs", body=body, headers=dict(headers))
    again = await api("POST", "jobs", body=body, headers=dict(headers))
    assert first.json()["id"] == again.json()["id"]
    other = await api("POST", "jobs", body={**body, "name": "other"}, headers=dict(headers))
    assert (other.status, other.code) == (409, "conflict")


async def test_the_number_that_jupyterlab_adds_against_caches_is_no_parameter(api):
    answer = await api("GET", "jobs", params={"limit": 1, "1700000000000": ""})
    assert answer.status == 200, answer.content
