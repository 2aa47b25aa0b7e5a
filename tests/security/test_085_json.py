"""JSON that was made to hurt: one clear 400, never a 500, and never two meanings."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.core.errors import InvalidInput, TooLarge
from himalia.core.model import RunDraft
from himalia.handlers.decoding import BODY_LIMIT, decode_body, decode_json

HURTFUL = {
    "deep arrays": b'{"parameters": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "deep objects": b'{"parameters": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "just too deep": b'{"parameters": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}",
    "deep and broken": b"[" * 1_000_000,
    "a name twice": b'{"parameters": {"a": 1, "a": 2}}',
    "a field twice": b'{"parameters": {}, "parameters": {}}',
    "a name twice, escaped": b'{"parameters": {"a": 1, "\\u0061": 2}}',
    "many digits": b'{"parameters": {"a": ' + b"9" * 1_000_000 + b"}}",
    "an infinite number": b'{"parameters": {"a": 1e999}}',
    "NaN": b'{"parameters": {"a": NaN}}',
    "Infinity": b'{"parameters": {"a": -Infinity}}',
    "invalid UTF-8": b'{"parameters": {"a": "\xff\xfe"}}',
    "UTF-16": '{"parameters": {}}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a lone surrogate": b'{"parameters": {"a": "\\ud800"}}',
    "a lone surrogate in a name": b'{"parameters": {"\\udfff": 1}}',
    "a control character": b'{"parameters": {"a": "\x00"}}',
    "a comment": b"{} // that was it",
    "more after the end": b"{}{}",
    "no object": b'"text"',
    "null": b"null",
    "a bad name": b'{"parameters": {"a-b": 1}}',
    "an unknown field": b'{"colour": 1}',
}


@pytest.mark.parametrize("name", HURTFUL)
def test_085_hurtful_json_is_invalid_input(name):
    with pytest.raises(InvalidInput) as told:
        decode_body(HURTFUL[name], RunDraft)
    assert told.value.problems
    assert len(told.value.message) < 2000
    told.value.message.encode()


@pytest.mark.parametrize("name", HURTFUL)
async def test_085_hurtful_json_is_400_over_http(api, name):
    if len(HURTFUL[name]) > BODY_LIMIT:
        pytest.skip("refused for its size alone")
    answer = await api("POST", "jobs/job-00000000000000000000000000/runs", body=HURTFUL[name])
    assert (answer.status, answer.code) == (400, "invalid_input")


def test_085_a_surrogate_pair_is_a_character():
    assert decode_json(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_085_large_and_nested_values_within_reason_pass_unchanged():
    value = {"a": [[[{"b": 10**300, "c": -1.5e300, "d": "\u2028", "e": None}]]]}
    body = json.dumps({"parameters": value}).encode()
    assert decode_body(body, RunDraft).parameters == value


def test_085_too_much_is_too_large():
    with pytest.raises(TooLarge):
        decode_body(b" " * (BODY_LIMIT + 1), RunDraft)


@given(st.binary(max_size=200))
def test_085_any_bytes_are_read_or_refused(data):
    try:
        decode_body(data, RunDraft)
    except InvalidInput as error:
        error.message.encode()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(_JSON)
def test_085_any_value_is_read_as_it_was_or_refused(value):
    body = json.dumps({"parameters": {"a": value}}).encode()
    try:
        found = decode_body(body, RunDraft)
    except InvalidInput:
        return
    assert found.parameters == {"a": value}
