"""The parts of an installed chart: what goes between them, and what they tell of themselves."""

from __future__ import annotations

import base64
import json
import re
import ssl
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.authority import Authority
from tests.servers.chart import Release, of_kind, render
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import Visitor

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
]
_METRIC = re.compile(r"\b((?:himalia|jupyterhub)_\w+)\{([^}]*)\}")
PARTS = {"hub": 8444, "control": 8443, "namespaces": 8400, "proxy-api": 8001}


async def test_no_part_lets_in_who_shows_no_certificate_of_the_releases_authority(
    release: Release, tmp_path: Path
) -> None:
    own = release.certificate("test", tmp_path / "own")
    foreign = Authority().give(tmp_path / "foreign", "test")

    def context(*shown: Path) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(own / "ca.crt"))
        for folder in shown:
            made.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        return made

    async def answers(part: str, shown: ssl.SSLContext, scheme: str = "https") -> bool:
        address = release.get("service", part)["spec"]["clusterIP"]
        async with httpx.AsyncClient(verify=shown, trust_env=False, timeout=30) as client:
            try:
                answer = await client.get(
                    f"{scheme}://{address}:{PARTS[part]}/",
                    headers={"Host": f"{part}.{release.namespace}"},
                    extensions={"sni_hostname": f"{part}.{release.namespace}"},
                )
            except (httpx.TransportError, ssl.SSLError):
                return False
        return answer.status_code < 600

    for part in PARTS:
        assert await answers(part, context(own)), part
        assert not await answers(part, context()), part
        assert not await answers(part, context(foreign)), part
        assert not await answers(part, context(own), "http"), part


async def test_the_database_takes_no_password_without_tls_and_a_certificate(
    release: Release, tmp_path: Path
) -> None:
    own = release.certificate("test", tmp_path)
    (own / "tls.key").chmod(0o600)
    (pod,) = release.get("pods", "--selector", "component=database")["items"]
    about = {
        "host": f"database.{release.namespace}",
        "hostaddr": pod["status"]["podIP"],
        "user": "himalia",
        "dbname": "himalia",
        "password": base64.b64decode(
            release.secrets()["himalia-database"]["database-himalia"]
        ).decode(),
        "sslrootcert": str(own / "ca.crt"),
    }
    shown = {"sslcert": str(own / "tls.crt"), "sslkey": str(own / "tls.key")}
    with psycopg.connect(**about, **shown, sslmode="verify-full") as connection:
        row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert row.fetchone() == (True,)
    for refused in ({"sslmode": "disable"}, {"sslmode": "verify-full"}):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**about, **refused)


async def numbers(visitor: Visitor, token: str) -> dict[str, set[str]]:
    """Return the names and labels of what control and the hub tell whoever may collect numbers."""
    # Of an answer there are numbers once there was one, and there are several controls.
    await visitor.ask("GET", "/services/himalia/api/admin/overview", token=token, xsrf=False)
    told: dict[str, set[str]] = {}
    for path in ("/services/himalia/metrics", "/hub/metrics"):
        answer = await visitor.ask("GET", path, token=token, xsrf=False)
        assert answer.status_code == 200, answer.text
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                told.setdefault(sample.name, set()).update(sample.labels)
    return told


async def test_dashboards_and_alerts_name_what_the_parts_tell(release: Release) -> None:
    objects = render({"monitoring": {name: {"enabled": True} for name in ("dashboards", "rules")}})
    (board,) = of_kind(objects, "ConfigMap")["himalia-dashboards"]["data"].values()
    (group,) = of_kind(objects, "PrometheusRule")["himalia"]["spec"]["groups"]
    asked = [target["expr"] for panel in json.loads(board)["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for rule in group["rules"]]
    named = [one for expr in asked for one in _METRIC.findall(expr)]
    assert len(named) > 25
    told: dict[str, set[str]] = {}
    end = time.monotonic() + PATIENCE_SECONDS
    async with Visitor(release.url, "admin") as visitor:
        await visitor.log_in(release.secret("admin-password"))
        made = await visitor.ask("POST", "/hub/api/users/admin/tokens", json={})
        while missing := {name for name, _ in named} - told.keys():
            assert time.monotonic() < end, missing
            for name, found in (await numbers(visitor, made.json()["token"])).items():
                told.setdefault(name, set()).update(found)
    # What Prometheus itself adds.
    added = {"namespace", "pod"}
    for name, chosen in named:
        labels = set(re.findall(r"(\w+)\s*[=!]~?", chosen))
        assert labels <= told[name] | added, (name, labels)
    for expr in asked:
        for labels in re.findall(r"\bby \(([^)]*)\)", expr):
            (name, _), *_ = _METRIC.findall(expr)
            assert {one.strip() for one in labels.split(",")} <= told[name] | added, expr
