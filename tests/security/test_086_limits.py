"""Pages, searches and offsets out of all proportion are refused, and cost nothing."""

from __future__ import annotations

import pytest

LISTS = ("jobs", "runs", "schedules")
OUT_OF_PROPORTION = {
    "limit": ("1000000000", "-1", "0", "9" * 400, "1e3", "", "٣x"),
    "cursor": ("x" * 5000, "", "\x00", "eyJ9", "../../etc/passwd", "-1", "' OR 1=1 --"),
    "sort": ("owner", "-", "created_at,name", "created_at; drop table runs", "__class__"),
    "search": ("x" * 10_000, "\x00"),
    "tag": ("x" * 10_000, "", "\n", "%00"),
}


@pytest.mark.parametrize("collection", LISTS)
@pytest.mark.parametrize("name", OUT_OF_PROPORTION)
async def test_086_parameters_out_of_proportion_are_refused_by_name(api, collection, name):
    for value in OUT_OF_PROPORTION[name]:
        answer = await api("GET", collection, params={name: value})
        assert (answer.status, answer.code) == (400, "invalid_input"), value[:50]
        assert answer.fields == {name}, value[:50]


@pytest.mark.parametrize(
    "text", ["(a+)+$", "%" * 100, "_" * 100, "\\", "'", '"', "[" * 100, "* OR *", "é" * 100]
)
async def test_086_a_search_is_text_and_no_pattern(api, make_job, text):
    job = await make_job()
    assert (await api("PATCH", f"jobs/{job['id']}", body={"name": "aaaa"})).status == 200
    answer = await api("GET", "jobs", params={"search": text})
    assert answer.status == 200, answer.content
    assert answer.json()["items"] == []


async def test_086_log_parts_are_bounded(api):
    path = "runs/run-00000000000000000000000000/log"
    for query, field in (
        ({"limit": "1000000000"}, "limit"),
        ({"offset": str(2**63)}, "offset"),
        ({"offset": str(-(2**63))}, "offset"),
    ):
        answer = await api("GET", path, params=query)
        assert (answer.status, answer.fields) == (400, {field})
