"""Secrets are planted wherever there is room for one, and looked for wherever they must not be."""

from __future__ import annotations

import logging

import pytest

from himalia.core.places import Places

CANARY = "canary-7f3a9c"


@pytest.fixture
def planted(make_job, ended):
    """A job with secrets in it, run to its end."""

    async def plant():
        job = await make_job(
            "import os\nlen(os.environ['SECRET'])",
            run=True,
            env={"SECRET": f"{CANARY}-env"},
            notify=[{"webhook": "http://127.0.0.1:9/hook", "secret": f"{CANARY}-webhook"}],
        )
        run = await ended(job["last_run"]["id"])
        assert run["status"] == "succeeded", run["reason"]
        return job, run

    return plant


async def test_011_no_log_holds_a_secret(
    api, planted, caplog, control_home, jp_serverapp, jp_logging_stream
):
    caplog.set_level(logging.DEBUG)
    job, run = await planted()
    token = jp_serverapp.identity_provider.token
    bad = {"spec": {"notebook": 1, "env": {"A": f"{CANARY}-refused"}, "secret": f"{CANARY}-field"}}
    assert (await api("POST", "jobs", body=bad)).status == 400
    broken = f'{{"secret": "{CANARY}-broken'.encode()
    assert (await api("POST", "jobs", body=broken)).status == 400
    headers = {"Idempotency-Key": f"{CANARY}-key", "Cookie": f"session={CANARY}-cookie"}
    assert (await api("POST", f"jobs/{job['id']}/runs", headers=headers)).status == 201
    for path in ("jobs/absent", f"runs/{run['id']}", f"runs/{run['id']}/events", "else/where"):
        await api("GET", path, params={"token": token})
    logged = "\n".join(record.getMessage() + (record.exc_text or "") for record in caplog.records)
    for log in control_home.glob("control.log*"):
        logged += log.read_text(errors="replace")
    logged += jp_logging_stream.getvalue()
    assert CANARY not in logged
    said = [line for line in logged.splitlines() if token in line and "?token=" not in line]
    assert not said
    assert "himalia" in logged, "something was logged at all"


async def test_011_a_fault_inside_tells_its_log_and_nobody_else(api, monkeypatch):
    async def status(_):
        raise RuntimeError(CANARY)

    service = type("Service", (), {"status": staticmethod(status)})()
    monkeypatch.setattr("himalia.extension.HimaliaExtension.service", service)
    answer = await api("GET", "status")
    assert answer.status == 500
    assert CANARY not in answer.content.decode() + str(answer.headers)


async def test_011_what_signs_webhooks_is_never_sent_back(api, planted):
    job, run = await planted()
    of_run = (f"runs/{run['id']}", f"runs/{run['id']}/events")
    for path in (f"jobs/{job['id']}", "jobs", "runs", *of_run):
        answer = await api("GET", path)
        assert answer.status == 200
        assert f"{CANARY}-webhook".encode() not in answer.content, path
    changed = await api("PATCH", f"jobs/{job['id']}", body={"name": "other"})
    assert f"{CANARY}-webhook".encode() not in changed.content


async def test_011_the_document_holds_nothing_of_this_machine(api, control_home, jp_serverapp):
    text = (await api("GET", "openapi.json")).content.decode()
    token = jp_serverapp.identity_provider.token
    for secret in (str(control_home), token, str(jp_serverapp.root_dir)):
        assert secret not in text


async def test_012_the_state_folder_is_not_served_by_jupyter(jp_fetch, jp_root_dir, control_home):
    """By default it lies hidden below the home folder, where many start their server."""
    hidden = jp_root_dir / ".local/share/jupyter"
    hidden.mkdir(parents=True)
    (hidden / "himalia").symlink_to(control_home)
    for name in ("control.json", "control.log", "store.db", "settings.toml"):
        for kind in ("api/contents", "files"):
            path = f".local/share/jupyter/himalia/{name}"
            found = await jp_fetch(kind, path, raise_error=False)
            assert found.code in (403, 404), (kind, name)


async def test_012_a_job_cannot_take_the_state_folder_along(
    api, jp_root_dir, control_home, write_notebook
):
    (jp_root_dir / "state").symlink_to(control_home)
    body = {"spec": {"notebook": write_notebook("1"), "files": ["state/store.db"]}, "run": False}
    answer = await api("POST", "jobs", body=body)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert Places(home=control_home).store.exists()
