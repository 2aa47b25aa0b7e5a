"""The document says all there is, and what it says is served."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from himalia.backends.local.backend import LocalBackend
from himalia.core.errors import EVERY_ERROR, HimaliaError
from himalia.core.local import LocalService, LocalSettings
from himalia.core.local_premises import LocalPremises
from himalia.core.places import Places
from himalia.handlers.base import Api, document_of
from himalia.handlers.control import control_application
from himalia.handlers.openapi import document
from himalia.handlers.routes import table
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS

KINDS = load_kinds()
DOCUMENT = document(KINDS.values())
ROUTES = table(KINDS.values())


def walk(value):
    """Yield every object in the document."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def test_every_route_is_in_the_document_and_nothing_else():
    said = {
        (method.upper(), path.removeprefix("/"))
        for path, item in DOCUMENT["paths"].items()
        for method in item
    }
    assert said == {(route.method, route.path) for route in ROUTES} | {("GET", "openapi.json")}


def test_every_error_of_a_route_is_in_the_document():
    for route in ROUTES:
        said = DOCUMENT["paths"][f"/{route.path}"][route.method.lower()]["responses"]
        assert {str(error.http_status) for error in route.errors} < set(said)
        assert str(route.success) in said
    described = {int(status) for item in DOCUMENT["paths"].values() for operation in item.values()
                 for status in operation["responses"] if int(status) >= 400}  # fmt: skip
    every = {error.http_status for error in (HimaliaError, *EVERY_ERROR)}
    # Another method is no operation, so no operation can say 405; the description does.
    assert described == every - {405}
    assert "405" in DOCUMENT["info"]["description"]


def test_every_parameter_and_header_is_in_the_document():
    for route in ROUTES:
        said = {
            (parameter["in"], parameter["name"])
            for parameter in DOCUMENT["paths"][f"/{route.path}"][route.method.lower()]["parameters"]
        }
        expected = {("path", name) for name in re.findall(r"{(\w+)}", route.path)}
        expected |= {("query", name) for name in route.query.model_fields}
        expected |= {("header", "Idempotency-Key")} if route.takes_key else set()
        expected |= {("header", "Last-Event-ID")} if route.sends == "events" else set()
        assert said == expected, route.name


def test_what_makes_something_takes_a_key():
    assert all(route.takes_key for route in ROUTES if route.success == 201)


def test_every_reference_leads_somewhere_and_every_name_is_once():
    for item in walk(DOCUMENT):
        if "$ref" in item:
            target = DOCUMENT
            for part in item["$ref"].removeprefix("#/").split("/"):
                target = target[part]
    ids = [item["operationId"] for item in walk(DOCUMENT) if "operationId" in item]
    assert len(ids) == len(set(ids))
    assert all(item.get("summary") for item in walk(DOCUMENT) if "operationId" in item)


def test_what_users_send_refuses_unknown_fields():
    for route in ROUTES:
        if route.body is not None:
            schema = DOCUMENT["components"]["schemas"][route.body.__name__]
            assert schema["additionalProperties"] is False


def test_the_document_is_printed_by_the_module():
    command = [sys.executable, "-m", "himalia.handlers.openapi"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_SECONDS)
    assert json.loads(done.stdout) == DOCUMENT


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """What control serves, over TCP, with a real service in a thread of its own."""
    folder = tmp_path_factory.mktemp("fuzzed")
    ready, loop = threading.Event(), asyncio.new_event_loop()
    found, stopping = [], asyncio.Event()

    async def serve():
        places = Places(home=folder / "home").prepare()
        local = LocalService(
            store=SqlStore(places.store, KINDS.decode_spec),
            backend=LocalBackend(places, pool_size=0),
            premises=LocalPremises(places, KINDS),
            kinds=KINDS,
            places=places,
            settings=LocalSettings(max_running=1),
        )
        await local.open()
        api = Api(service=lambda: local, document=document_of(lambda: DOCUMENT))
        server = HTTPServer(control_application(ROUTES, api, identify=lambda _: "fuzzer"))
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        found.append(f"http://127.0.0.1:{sockets[0].getsockname()[1]}")
        ready.set()
        await stopping.wait()
        server.stop()
        await server.close_all_connections()
        await local.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield found[0]
    loop.call_soon_threadsafe(stopping.set)
    thread.join(60)
    loop.close()


SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@SCHEMA.parametrize()
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_is_answered_as_the_document_says(address, case):
    assert urlsplit(address).port
    case.call_and_validate(
        base_url=f"{address}/himalia/api",
        checks=[
            schemathesis.checks.not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
        timeout=PATIENCE_SECONDS,
    )
