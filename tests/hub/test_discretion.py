"""What is logged of requests, without the secrets that were in them."""

from __future__ import annotations

import logging

import pytest

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
