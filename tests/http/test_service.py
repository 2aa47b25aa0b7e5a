"""The service as a whole, through a Jupyter server."""

from __future__ import annotations


async def test_status_says_which_release_runs_and_what_it_does(api):
    answer = await api("GET", "status")
    assert answer.status == 200, answer.content
    status = answer.json()
    assert status["backend"] == "local"
    assert {"version", "pid", "queued", "running", "limit", "pool"} <= set(status)


async def test_environments_are_listed_with_the_default_first(api):
    answer = await api("GET", "environments")
    assert answer.status == 200
    items = answer.json()["items"]
    assert items[0]["is_default"]
    assert "python3" in {item["name"] for item in items}


async def test_the_document_describes_what_is_served(api, jp_base_url):
    answer = await api("GET", "openapi.json")
    assert answer.status == 200
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": f"{jp_base_url}himalia/api"}]
