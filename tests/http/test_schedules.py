"""Schedules, through a Jupyter server."""

from __future__ import annotations

import pytest


async def test_a_schedule_is_made_read_and_listed(api, make_job):
    job = await make_job()
    body = {"workload_id": job["id"], "cron": "0 6 * * 1-5", "paused": True}
    answer = await api("POST", "schedules", body=body)
    assert answer.status == 201, answer.content
    made = answer.json()
    assert (await api("GET", f"schedules/{made['id']}")).json() == made
    query = {"workload_id": job["id"], "paused": "true", "sort": "next_tick_at"}
    page = (await api("GET", "schedules", params=query)).json()
    assert [item["id"] for item in page["items"]] == [made["id"]]


async def test_a_schedule_is_changed_and_deleted(api, make_job):
    job = await make_job()
    body = {"workload_id": job["id"], "cron": "0 6 * * 1-5", "paused": True}
    made = (await api("POST", "schedules", body=body)).json()
    changed = await api("PATCH", f"schedules/{made['id']}", body={"overlap": "queue"})
    assert changed.status == 200, changed.content
    assert (changed.json()["overlap"], changed.json()["cron"]) == ("queue", made["cron"])
    assert (await api("DELETE", f"schedules/{made['id']}")).status == 204
    assert (await api("GET", f"schedules/{made['id']}")).status == 404


async def test_the_next_ticks_are_shown_before_anything_is_stored(api):
    query = {"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "count": 3}
    answer = await api("GET", "schedules/preview", params=query)
    assert answer.status == 200, answer.content
    assert len(answer.json()["ticks"]) == 3
    assert answer.json()["words"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "cron"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 * * * *", "time_zone": "Moon/Crater"}, "time_zone"),
        ({"cron": "0 * * * *", "count": "1000"}, "count"),
    ],
)
async def test_a_wrong_cron_line_names_what_is_wrong(api, query, field):
    answer = await api("GET", "schedules/preview", params=query)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert answer.fields == {field}
