"""The rules that all parts of the local service follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from himalia.core.errors import InvalidInput
from himalia.core.local_parts import fields_under, key_of, with_secrets
from himalia.core.model import RunDraft
from himalia.core.service import Caller
from himalia.core.spec import Notification, Spec

CALLER = Caller(owner="alice", root=Path("/home/alice"))
HOOK = "https://example.org/hook"


def _spec(*notify: Notification) -> Spec:
    return Spec(notify=notify)


def test_a_secret_stays_where_the_same_webhook_comes_without_one():
    earlier = _spec(Notification(webhook=HOOK, secret="correct horse"))
    assert with_secrets(_spec(Notification(webhook=HOOK)), earlier) == earlier


def test_a_secret_goes_to_no_other_webhook():
    earlier = _spec(Notification(webhook=HOOK, secret="correct horse"))
    other = _spec(Notification(webhook="https://evil.example"), Notification(email="a@b"))
    assert with_secrets(other, earlier) == other


def test_a_new_secret_takes_the_place_of_the_old_one():
    earlier = _spec(Notification(webhook=HOOK, secret="correct horse"))
    new = _spec(Notification(webhook=HOOK, secret="battery staple"))
    assert with_secrets(new, earlier) == new


def test_a_digest_tells_requests_apart_by_all_that_matters():
    one = RunDraft(parameters={"a": 1, "b": 2})
    same = RunDraft(parameters={"b": 2, "a": 1})
    keys = [
        key_of(CALLER, "key", "start", "job-1", body=one),
        key_of(CALLER, "key", "start", "job-1", body=same),
        key_of(CALLER, "key", "start", "job-2", body=one),
        key_of(CALLER, "key", "start", "job-1", body=RunDraft()),
        key_of(Caller(owner="alice", root=Path("/")), "key", "start", "job-1", body=one),
    ]
    digests = [key.digest for key in keys if key is not None]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "\ud800"])
def test_a_key_that_is_none_is_refused(key):
    with pytest.raises(InvalidInput):
        key_of(CALLER, key, "start", body=RunDraft())


def test_fields_are_named_as_the_user_wrote_them():
    with pytest.raises(InvalidInput, match=r"spec\.files\.0: gone") as caught, fields_under("spec"):
        raise InvalidInput.of("files.0", "gone")
    assert caught.value.problems[0].field == "spec.files.0"
