"""What a token's scopes let its bearer do with what is theirs."""

from __future__ import annotations

import pytest

from himalia.core.errors import Forbidden
from himalia_hub.control.scopes import check, server_of

JOBS = "custom:himalia:jobs"


@pytest.mark.parametrize(
    ("scope", "action"),
    [
        (JOBS, "write"),
        (JOBS, "read"),
        (f"{JOBS}:read", "read"),
        (f"{JOBS}!user=alice", "write"),
        (f"{JOBS}!user", "write"),
        (f"{JOBS}:read!user=alice", "read"),
        (f"{JOBS}!group=physics", "write"),
        (f"{JOBS}!server=alice/", "write"),
        (f"{JOBS}!server=alice/two", "write"),
    ],
)
def test_scopes_that_do(scope, action):
    check([scope], "himalia:jobs", action, name="alice", groups=("physics",))


@pytest.mark.parametrize(
    ("scope", "action"),
    [
        ("custom:himalia:runs", "read"),
        ("custom:himalia:job", "read"),
        (f"{JOBS}:read", "write"),
        (f"{JOBS}:read!user=alice", "write"),
        (f"{JOBS}!user=bob", "read"),
        (f"{JOBS}!user=alic", "read"),
        (f"{JOBS}!group=chemistry", "read"),
        (f"{JOBS}!server=bob/", "read"),
        (f"{JOBS}!server=alice", "read"),
        (f"{JOBS}!service=himalia", "read"),
        (f"{JOBS}!=", "read"),
        (f"x{JOBS}", "read"),
        ("custom:himalia:admin", "read"),
        ("admin-ui", "read"),
        ("", "read"),
    ],
)
def test_scopes_that_do_not(scope, action):
    with pytest.raises(Forbidden) as caught:
        check([scope], "himalia:jobs", action, name="alice", groups=("physics",))
    missing = JOBS if action == "write" else f"{JOBS}:read"
    assert missing in caught.value.message


@pytest.mark.parametrize(
    ("scopes", "server"),
    [
        (["access:servers!server=alice/"], ""),
        (["access:servers!server=alice/two", JOBS], "two"),
        (["access:servers!user=alice"], None),
        (["access:servers"], None),
        (["access:servers!server=bob/two"], None),
        (["access:servers!server=alice/a", "access:servers!server=alice/b"], None),
        ([], None),
    ],
)
def test_a_servers_token_may_enter_one_server(scopes, server):
    assert server_of(scopes, "alice") == server
