"""One shape for every error, whatever went wrong and wherever."""

from __future__ import annotations

import pytest
from tornado.web import HTTPError

from himalia.core.errors import EVERY_ERROR
from himalia.extension import HimaliaExtension

BAD = {
    "an unknown address": ("GET", "nothing/here", None, 404, "not_found"),
    "the bare address": ("GET", "", None, 404, "not_found"),
    "another method": ("PUT", "jobs", b"{}", 405, "method_not_allowed"),
    "another method on a file": ("DELETE", "openapi.json", None, 405, "method_not_allowed"),
    "an id of no form": ("GET", "jobs/nonsense", None, 404, "not_found"),
    "an absent id": ("GET", "jobs/job-00000000000000000000000000", None, 404, "not_found"),
    "broken JSON": ("POST", "jobs", b"{", 400, "invalid_input"),
    "no object": ("POST", "jobs", b"[]", 400, "invalid_input"),
    "nothing": ("POST", "jobs", b"", 400, "invalid_input"),
    "a body where none is taken": (
        "POST",
        "runs/run-00000000000000000000000000/stop",
        b'{"now": true}',
        400,
        "invalid_input",
    ),
    "too large": ("POST", "jobs", b" " * (5 * 2**20), 413, "too_large"),
}


@pytest.mark.parametrize("name", BAD)
async def test_every_error_has_the_one_shape(api, name):
    method, path, body, status, code = BAD[name]
    answer = await api(method, path, body=body)
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"spec": {"notebook": "a.ipynb", "colour": 1}}, {"spec.colour"}),
        ({"spec": {"notebook": "a.ipynb"}, "owner": "root"}, {"owner"}),
        ({"spec": {"notebook": 3}}, {"spec.notebook"}),
        ({"spec": {"notebook": "a.ipynb", "timeout_seconds": "10"}}, {"spec.timeout_seconds"}),
        (
            {"spec": {"notebook": "a.ipynb", "retries": {"count": -1}, "tags": ["\n"]}},
            {"spec.retries.count", "spec.tags.0"},
        ),
        ({"spec": {"notebook": "absent.ipynb"}}, {"spec.notebook"}),
        ({}, {"spec"}),
    ],
)
async def test_each_wrong_field_is_named_as_it_was_written(api, body, fields):
    answer = await api("POST", "jobs", body=body)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert answer.fields == fields


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"sort": "owner"}, "sort"),
        ({"colour": "red"}, "colour"),
        ([("limit", "1"), ("limit", "2")], "limit"),
        ({"cursor": "made up"}, "cursor"),
    ],
)
async def test_a_wrong_query_parameter_is_named(api, query, field):
    answer = await api("GET", "jobs", params=query)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert answer.fields == {field}


@pytest.mark.parametrize("error", EVERY_ERROR)
async def test_what_a_service_raises_arrives_as_it_is(api, monkeypatch, error):
    async def status(_):
        raise error("said by the service")

    service = monkeypatch_service(monkeypatch, status)
    answer = await api("GET", "status")
    assert (answer.status, answer.code) == (error.http_status, error.code)
    assert answer.json()["error"]["message"] == "said by the service"
    assert ("Retry-After" in answer.headers) == (error.http_status in (429, 503))
    assert service


@pytest.mark.parametrize("error", [RuntimeError("canary"), KeyError("canary"), HTTPError(599)])
async def test_what_nobody_thought_of_tells_nothing(api, monkeypatch, error):
    async def status(_):
        raise error

    monkeypatch_service(monkeypatch, status)
    answer = await api("GET", "status")
    assert answer.status >= 500
    assert answer.code == "internal"
    assert b"canary" not in answer.content


def monkeypatch_service(monkeypatch, status):
    """Give the extension a service that only knows its status."""
    service = type("Service", (), {"status": staticmethod(status), "close": closes})()
    monkeypatch.setattr(HimaliaExtension, "service", service)
    return service


async def closes(_):
    """Nothing is held."""
