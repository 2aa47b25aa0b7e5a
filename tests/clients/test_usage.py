"""What was used, and what may be: in the shell, in Python, in notebooks."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from himalia.cli import texts
from himalia.client import Client
from himalia.client.usage import month_of
from himalia.core.errors import InvalidInput
from himalia.core.team import Notice, Quota, Standing


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name[:40]} {id(request)}"


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2026-11", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12", datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("0001-01", datetime(1, 1, 1, tzinfo=UTC), datetime(1, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_month_begins_and_ends_in_utc(text: str, since: datetime, until: datetime) -> None:
    assert month_of(text) == (since, until)


def test_this_month_is_the_default() -> None:
    now = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)
    assert month_of(None, now) == month_of("2026-03")


def test_the_last_month_there_is_has_an_end() -> None:
    assert month_of("9999-12")[1] > datetime(9999, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "0000-01", "26-1", "2026-11-01"]
)
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="2026-11"):
        month_of(text)


def test_a_run_is_booked_on_its_project(himalia: Any, notebook: Any, project: str) -> None:
    notebook("sum(range(1_000_000))")
    run = himalia("job", "run", "report.ipynb", "--project", project, "--wait", "--json").json()

    [total] = [
        one
        for one in himalia("usage", "--by", "project", "--json").json()
        if one["subject"] == project
    ]
    assert total["entries"] == 1
    assert 0 < total["hours"] < 1
    assert {one["subject"] for one in himalia("usage", "--json").json()} == {"job"}
    shown = himalia("usage", "--by", "project")
    assert shown.out.startswith("PROJECT")
    assert project in shown.out

    rows = csv.DictReader(io.StringIO(himalia("usage", "--csv").out, newline=""))
    [row] = [row for row in rows if row["project"] == project]
    assert row["object_id"] == run["id"]
    assert row["kind"] == "job"
    assert float(row["cpu_seconds"]) > 0
    assert datetime.fromisoformat(row["ended_at"]) > datetime.fromisoformat(row["started_at"])


def test_a_month_without_runs_is_empty(himalia: Any) -> None:
    assert himalia("usage", "--month", "2001-01", "--json").json() == []
    assert "Nothing was used" in himalia("usage", "--month", "2001-01").out
    assert himalia("usage", "--month", "2001-01", "--csv").out.splitlines()[1:] == []


def test_a_wrong_month_exits_with_2_and_says_how_to_write_one(himalia: Any) -> None:
    ended = himalia("usage", "--month", "November")
    assert ended.code == 2
    assert "month" in ended.err
    assert "2026-11" in ended.err


def test_without_a_hub_nobody_sets_quotas_or_tells_anything(himalia: Any, client: Client) -> None:
    assert himalia("quotas", "--json").json() == []
    assert "Nobody set a limit" in himalia("quotas").out
    assert client.usage.notice() == Notice()
    assert "Notice" not in himalia("status").err


def test_python_sums_and_lists_usage(client: Client, notebook: Any, project: str) -> None:
    path = notebook("1")
    run = client.run(str(path), project=project, wait=True)
    totals = client.usage.totals("project")
    assert [one.entries for one in totals if one.subject == project] == [1]
    entry = next(client.usage.entries())
    assert (entry.object_id, entry.project) == (run.id, project)
    assert client.usage.quotas() == ()


def test_python_refuses_to_sum_a_user_by_what_only_admins_see(client: Client) -> None:
    with pytest.raises(InvalidInput):
        client.usage.totals("owner")


def test_quotas_are_shown_with_what_is_left() -> None:
    quota = Quota(scope="group", subject="lab\x1b[2J", running=4, memory_bytes=2_000_000_000)
    standing = Standing(
        quota=quota, running=1, cpu=0, memory_bytes=3_000_000_000, run_hours=0,
        resets_at=datetime(2026, 12, 1, tzinfo=UTC),
    )  # fmt: skip
    running, memory = texts.quota_rows([standing])
    assert running[1:] == ("runs at once", "1", "4", "3")
    assert memory[1:] == ("memory at once", "3.0 GB", "2.0 GB", "0 B")
    assert "\x1b" not in "".join(texts.table(texts.QUOTA_HEADER, [running]))


def test_a_notice_is_one_line_that_no_terminal_obeys() -> None:
    notice = Notice(banner="Down\nat \x1b]0;x\x07noon", is_draining=True)
    [banner, drain] = texts.notice_lines(notice)
    assert banner.startswith("Notice: Down at ")
    assert "\x1b" not in banner
    assert "Nothing new starts" in drain
