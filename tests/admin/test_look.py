"""The page's frame: the hub's templates, and what a scope makes of its holder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from himalia.core.administration import Admin
from himalia.core.errors import Forbidden
from himalia_hub.admin.look import HUB_STATIC, STATIC, Look
from himalia_hub.admin.rights import admin_of

BASE = "/team/services/himalia/"
HOSTILE = "</script><script>alert(1)</script>"


def page(look: Look, *, user: str = "grace") -> str:
    return look.render(
        "himalia-admin.html",
        nonce="N0NCE",
        user=user,
        parsed_scopes={},
        admin_access=False,
        xsrf_token="xsrf",
        version="1",
    )


def test_every_script_has_the_nonce_and_every_file_is_ours() -> None:
    text = page(Look(base=BASE, hub="/team/hub/"))
    scripts = re.findall(r"<script[^>]*>", text)
    assert len(scripts) > 4
    assert all('nonce="N0NCE"' in script for script in scripts)
    for address in re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]+)"', text):
        folder, _, name = address.removeprefix(BASE).partition("/")
        assert address.startswith(BASE), address
        if folder == "static":
            assert (STATIC / name.partition("/")[2]).is_file(), address
        else:
            assert (HUB_STATIC / name.partition("?")[0]).is_file(), address
    assert 'href="/team/hub/logout"' in text
    assert 'href="/team/hub/home"' in text


def test_021_a_users_name_is_no_markup() -> None:
    text = page(Look(base=BASE, hub="/hub/"), user=HOSTILE)
    assert "<script>" not in text
    assert "alert(1)</script>" not in text


def test_a_hub_on_another_host_is_linked_there() -> None:
    look = Look(base=BASE, hub="https://hub.example.org:8443/hub/")
    assert 'href="https://hub.example.org:8443/hub/logout"' in page(look)
    assert look.origin == "https://hub.example.org:8443"
    assert Look(base=BASE, hub="/hub/").origin == ""


def test_a_hubs_own_template_comes_first_and_its_scripts_run(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<p>{{ user.name }} of our faculty</p><script>go()</script>{% block main %}{% endblock %}"
    )
    text = page(Look(base=BASE, hub="/hub/", paths=[str(tmp_path)]), user="<b>grace</b>")
    assert "&lt;b&gt;grace&lt;/b&gt; of our faculty" in text
    assert '<script nonce="N0NCE">go()</script>' in text
    assert 'id="himalia-tabs"' in text


SCOPE = "custom:himalia:admin"


@pytest.mark.parametrize(
    ("scopes", "groups", "may_write"),
    [
        ({"admin-ui"}, None, True),
        ({SCOPE, f"{SCOPE}:read"}, None, True),
        ({f"{SCOPE}:read"}, None, False),
        ({f"{SCOPE}!group=physics", f"{SCOPE}:read!group=physics"}, {"physics"}, True),
        ({f"{SCOPE}!group=a", f"{SCOPE}!group=b"}, {"a", "b"}, True),
        ({f"{SCOPE}:read!group=a"}, {"a"}, False),
        # Never more than either of them grants.
        ({f"{SCOPE}!group=a", f"{SCOPE}:read"}, {"a"}, True),
        ({f"{SCOPE}!group=a", f"{SCOPE}:read!group=b"}, {"a"}, True),
        ({f"{SCOPE}!group=a!group=b"}, {"a!group=b"}, True),
    ],
)
def test_scopes_say_whom_one_administers(
    scopes: set[str], groups: set[str] | None, may_write: bool
) -> None:
    expected = None if groups is None else frozenset(groups)
    assert admin_of("x", scopes) == Admin(name="x", groups=expected, may_write=may_write)


@pytest.mark.parametrize(
    "scopes",
    [
        set(),
        {"custom:himalia:jobs", "access:services!service=himalia", "inherit"},
        {"custom:himalia:administrators", "admin:users", f"{SCOPE}!user=x", f"{SCOPE}!server=x/"},
        {SCOPE.upper(), f" {SCOPE}", f"{SCOPE}:write"},
    ],
)
def test_029_no_other_scope_makes_an_admin(scopes: set[str]) -> None:
    with pytest.raises(Forbidden):
        admin_of("x", scopes)
