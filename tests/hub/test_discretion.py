"""What is logged of requests, without the secrets that were in them."""

from __future__ import annotations

import logging

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from himalia_hub import discretion


@pytest.fixture
def say(caplog):
    """Log as tornado does, and return what came of it."""
    discretion.keep()
    logger = logging.getLogger("tornado.general")

    def said(text, *args):
        caplog.clear()
        logger.warning(text, *args)
        return caplog.messages[-1]

    return said


def test_011_where_a_request_was_sent_to_is_logged_without_it_too(say):
    said = say(
        "302 GET /hub/user/alice -> /hub/login?next=%2Fhub%3Ftoken%3Dcanary (@127.0.0.1) 1ms"
    )
    assert said == "302 GET /hub/user/alice -> /hub/login?next=[secret] (@127.0.0.1) 1ms"


def test_011_a_request_that_failed_is_logged_without_it_too(say):
    line = RequestStartLine("POST", "/hub/api/user?token=canary&a=1", "HTTP/1.1")
    request = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "h"}))
    assert "canary" not in say("Uncaught exception %s\n%r", "POST", request)


@pytest.mark.parametrize("name", ["token", "code", "state", "access_token", "password"])
def test_011_addresses_are_logged_without_what_lets_in(say, name):
    said = say("%d %s: no", 403, f"GET /hub/api/user?a=1&{name}=canary&b=2 (127.0.0.1)")
    assert said == f"403 GET /hub/api/user?a=1&{name}=[secret]&b=2 (127.0.0.1): no"


def test_088_a_name_of_a_megabyte_is_cut(say):
    said = say("Failed login for %s", "x" * 2**20)
    assert len(said) < 5000
    assert "1048576" in said


def test_keeping_twice_is_as_once(say):
    discretion.keep()
    logger = logging.getLogger("tornado.general")
    assert sum(isinstance(one, discretion.Discretion) for one in logger.filters) == 1
    assert say("%s of %d", "plain", 2) == "plain of 2"


def test_011_a_pod_that_could_not_be_made_is_logged_without_its_secrets(say):
    manifest = (
        "{'env': [{'name': 'JUPYTERHUB_API_TOKEN',\n           'value': 'canary',\n"
        "           'value_from': None}, {'name': 'HOME', 'value': '/home/jovyan'}]}"
    )
    said = say("Failed for %s", manifest)
    assert "canary" not in said
    assert "/home/jovyan" in said


def test_what_nobody_writes_is_not_looked_through(say, monkeypatch):
    """JupyterHub makes a dozen such records of each request."""
    looked = []
    monkeypatch.setattr(discretion, "_discreet", lambda said: looked.append(said) or said)
    assert say("a warning of %s", "alice") == "a warning of alice"
    assert looked == ["alice"]
    logger, handlers = logging.getLogger("tornado.general"), logging.getLogger().handlers
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    for handler in handlers:
        monkeypatch.setattr(handler, "level", logging.WARNING)
    logger.debug("a detail of %s", "bob")
    assert looked == ["alice"]
