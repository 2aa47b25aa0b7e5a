"""Names of namespaces: valid, stable and one for each owner."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.core.names import namespace, owner_id

_BORN = datetime(2026, 11, 21, 12, tzinfo=UTC)
_VALID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


@given(st.text(max_size=300), st.from_regex(r"\A[a-z][a-z0-9-]{0,19}\Z"))
def test_070_every_users_namespace_has_a_valid_name(name: str, prefix: str) -> None:
    owner = owner_id(name, _BORN)
    made = namespace(owner, prefix)
    assert _VALID.fullmatch(made)
    assert made.startswith(f"{prefix}-")
    # The hash is whole, so no two owners share a namespace.
    assert made.endswith(owner[-27:])


_TWINS = [("a-b", "a_b", "a.b", "A-B", "a--b"), ("\u0131", "i", "I", "\u0130")]


@pytest.mark.parametrize("names", _TWINS)
def test_070_names_that_look_alike_are_namespaces_of_their_own(names: tuple[str, ...]) -> None:
    assert len({namespace(owner_id(name, _BORN)) for name in names}) == len(names)


@pytest.mark.parametrize("owner", ["", "alice", "kube-system", "../x", "a-" + "b" * 26 + "\n"])
def test_072_what_is_no_owner_has_no_namespace(owner: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        namespace(owner)


@pytest.mark.parametrize("prefix", ["", "Himalia", "1a", "a" * 21, "a.b", "a\n"])
def test_a_prefix_that_makes_no_valid_name_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        namespace(owner_id("alice", _BORN), prefix)
