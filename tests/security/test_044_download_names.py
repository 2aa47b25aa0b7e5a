"""Files are sent under a safe name, and nothing in them gets rights."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.core.model import Output
from himalia.handlers.downloads import file_headers

_FORM = re.compile(
    r"^(inline|attachment); filename=\"([\w. ()+-]+)\"; filename\*=UTF-8''([\w.~%-]+)$", re.ASCII
)


def headers_of(name, media_type="text/plain", *, download=False):
    output = Output(name=name, size_bytes=1, media_type=media_type, role="file")
    return file_headers(output, download=download)


@given(st.text(), st.booleans())
def test_044_any_name_gives_one_valid_header(name, download):
    value = headers_of(name, download=download)["Content-Disposition"]
    found = _FORM.match(value)
    assert found, value
    shown = unquote(found[3])
    assert shown.isprintable()
    assert not set(shown) & set("/\\")
    assert shown not in {"", ".", ".."}
    assert len(shown) <= 150


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b/report.html", "report.html"),
        ("résumé 2024.pdf", "résumé 2024.pdf"),
        ('quo"te.txt', 'quo"te.txt'),
        ("line\r\nSet-Cookie: a=b", "lineSet-Cookie: a=b"),
        ("harmless\u202efdp.exe", "harmlessfdp.exe"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".bashrc", "bashrc"),
        ("...", "output"),
        ("x" * 300 + ".ipynb", "x" * 130 + "x" * 14 + ".ipynb"),
    ],
)
def test_044_names_are_shown_for_what_they_are(name, shown):
    found = _FORM.match(headers_of(name)["Content-Disposition"])
    assert found is not None
    assert unquote(found[3]) == shown


@given(st.text())
def test_044_a_media_type_is_one_or_bytes(text):
    value = headers_of("a", text)["Content-Type"]
    assert re.fullmatch(r"[a-z]+/[a-z0-9][a-z0-9.+-]*(; charset=utf-8)?", value)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("page.html", "<script>fetch('/api/contents')</script>"),
        ("image.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"),
        ("page.xhtml", "<html xmlns='http://www.w3.org/1999/xhtml'/>"),
        ("data.bin", "<html><script>1</script>"),
    ],
)
async def test_020_018_no_output_runs_in_the_servers_origin(api, make_job, ended, name, source):
    job = await make_job(f"open({name!r}, 'w').write({source!r})", run=True, outputs=[name])
    run = await ended(job["last_run"]["id"])
    for query in ({}, {"download": "1"}):
        answer = await api("GET", f"runs/{run['id']}/outputs/{name}", params=query)
        assert (answer.status, answer.content.decode()) == (200, source)
        policy = [part.strip() for part in answer.headers["Content-Security-Policy"].split(";")]
        assert policy[0] == "sandbox"
        assert "default-src 'none'" in policy
        assert not any("script" in part for part in policy)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_020_an_exported_notebook_has_no_rights_either(api, make_job, ended):
    job = await make_job("from IPython.display import HTML\nHTML('<script>1</script>')",
                         run=True, formats=["html"])  # fmt: skip
    run = await ended(job["last_run"]["id"])
    assert run["status"] == "succeeded", run["reason"]
    items = (await api("GET", f"runs/{run['id']}/outputs")).json()["items"]
    (page,) = [item for item in items if item["role"] == "export"]
    answer = await api("GET", f"runs/{run['id']}/outputs/{page['name']}")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")


@pytest.mark.parametrize(
    "name",
    ["../plan.json", "..%2fplan.json", "../log", "../lock", "../../../../store.db",
     "/etc/passwd", "%2e%2e/plan.json", "..\\plan.json", "a.ipynb/../../plan.json"],
)  # fmt: skip
async def test_012_nothing_but_outputs_is_served(api, make_job, ended, name):
    job = await make_job("1", run=True)
    run = await ended(job["last_run"]["id"])
    answer = await api("GET", f"runs/{run['id']}/outputs/{name}")
    assert answer.status in (400, 404), answer.content
    assert answer.code in ("not_found", "invalid_input")
