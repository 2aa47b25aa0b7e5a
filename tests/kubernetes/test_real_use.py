"""The chart as for real use: a database elsewhere, and a certificate of one's own at the edge."""

from __future__ import annotations

import base64
import os
import pwd
import ssl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.servers.authority import Authority
from tests.servers.chart import HelmFailed, Object, Release
from tests.servers.cluster import Cluster
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.postgres import Postgres

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(900)]
_PASSWORD = "0" * 32
_CA = "/var/run/himalia/secrets/database-ca.crt"
_RULES = """
local all all trust
host all all 127.0.0.1/32 trust
hostssl himalia himalia all scram-sha-256
hostssl jupyterhub jupyterhub all scram-sha-256
"""
_SMALL = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}
"""There may be another hub on a cluster of one machine."""
HOST = "hub.example.org"


class Outside:
    """A PostgreSQL of somebody else's, who lets in nobody without TLS."""

    def __init__(self, cluster: Cluster, authority: Authority, folder: Path) -> None:
        self.address = cluster.node
        self.authority = authority
        made = authority.give(folder, cluster.node)
        (made / "rules").write_text(_RULES)
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres" if _has("postgres") else "nobody")
            for path in (made, *made.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        self.server = Postgres(
            listen_addresses=f"127.0.0.1,{cluster.node}",
            hba_file=str(made / "rules"),
            ssl="on",
            ssl_cert_file=str(made / "tls.crt"),
            ssl_key_file=str(made / "tls.key"),
        )

    def prepare(self) -> None:
        """Make what its administrator was asked for."""
        for name in ("himalia", "jupyterhub"):
            words = {"name": sql.Identifier(name), "password": sql.Literal(_PASSWORD)}
            verb = "ALTER" if name == "himalia" else "CREATE"
            role = sql.SQL(f"{verb} ROLE {{name}} LOGIN PASSWORD {{password}}")
            self.server.execute(role.format(**words))
            database = sql.SQL("CREATE DATABASE {name} OWNER {name}")
            self.server.execute(database.format(name=sql.Identifier(name)))

    def secret(self) -> Object:
        """Return the Secret with its addresses."""
        address = f"{self.address}:{self.server.port}"
        end = f"?sslmode=verify-full&sslrootcert={_CA}"
        return {
            "store-url": f"postgresql://himalia:{_PASSWORD}@{address}/himalia{end}",
            "hub-url": f"postgresql+psycopg://jupyterhub:{_PASSWORD}@{address}/jupyterhub{end}",
            "authority.pem": self.authority.certificate.decode(),
        }

    def sessions(self) -> set[tuple[str, str]]:
        """Return who is in, and how safely."""
        asked = """SELECT DISTINCT usename, version
                   FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE ssl AND usename IS NOT NULL"""
        with psycopg.connect(self.server.url("postgres")) as connection:
            return {(row[0], row[1]) for row in connection.execute(asked).fetchall()}


def _has(name: str) -> bool:
    return any(account.pw_name == name for account in pwd.getpwall())


def _secret(release: Release, name: str, content: Object) -> None:
    made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    release.cluster.kubectl(
        *("create", "--namespace", release.namespace, "--filename=-"),
        given={**made, "stringData": content},
    )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def outside(cluster: Cluster, authority: Authority) -> Iterator[Outside]:
    with tempfile.TemporaryDirectory(prefix="himalia-outside-") as folder:
        # As whose account the server runs may look.
        Path(folder).chmod(0o755)
        found = Outside(cluster, authority, Path(folder) / "tls")
        with found.server:
            found.prepare()
            yield found


@pytest.fixture(scope="module")
def real(
    cluster: Cluster,
    outside: Outside,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    made = Release(cluster, "/")
    made.make()
    edge = authority.give(tmp_path_factory.mktemp("edge"), HOST)
    try:
        _secret(made, "outside", outside.secret())
        _secret(made, "edge", {name: (edge / name).read_text() for name in ("tls.crt", "tls.key")})
        port = {"port": outside.server.port, "protocol": "TCP"}
        way = {"to": [{"ipBlock": {"cidr": f"{cluster.node}/32"}}], "ports": [port]}
        values = {
            "database": {
                "bundled": False,
                "external": {"secretName": "outside", "ca": "authority.pem"},
            },
            "hub": {"networkPolicy": {"egress": [way]}, **_SMALL},
            "control": {"networkPolicy": {"egress": [way]}, "replicas": 1, **_SMALL},
            "proxy": {"https": {"enabled": True, "secret": {"name": "edge"}}, **_SMALL},
            "namespaces": _SMALL,
            # Nobody starts a session here.
            "singleuser": {"storage": {"type": "dynamic"}},
        }
        try:
            made.put("install", values)
        except HelmFailed as error:
            raise AssertionError(f"{error}\n{made.troubles()}") from error
        yield made
    finally:
        made.remove()


def client(real: Release, context: ssl.SSLContext) -> httpx.Client:
    """Return what asks the edge, as if the hub's name led there."""
    ports = {
        port["name"]: port["nodePort"]
        for port in real.get("service", "proxy-public")["spec"]["ports"]
    }
    return httpx.Client(
        base_url=f"https://{real.cluster.node}:{ports['https']}",
        headers={"Host": HOST},
        verify=context,
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    )


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.certificate.decode())


def ask(found: httpx.Client, path: str) -> httpx.Response:
    """Ask by the hub's name; pods are ready a moment before the proxy knows where to lead."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = found.get(path, extensions={"sni_hostname": HOST})
        if answer.status_code < 500 or time.monotonic() > end:
            return answer
        time.sleep(0.5)


def test_browsers_come_by_tls_alone_and_are_told_to_stay(
    real: Release, authority: Authority
) -> None:
    with client(real, trusting(authority)) as found:
        answer = ask(found, "/hub/login")
        assert answer.status_code == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
        form = {
            "username": "alice",
            "password": real.password,
            "_xsrf": next(one.value for one in found.cookies.jar if one.name == "_xsrf"),
        }
        entered = found.post("/hub/login", data=form, extensions={"sni_hostname": HOST})
        assert entered.status_code == 302, entered.text
        cookies = [*answer.headers.get_list("Set-Cookie"), *entered.headers.get_list("Set-Cookie")]
        assert len(cookies) >= 3
        assert all("Secure" in cookie for cookie in cookies), cookies
        # Control is behind the same door.
        assert ask(found, "/services/himalia/health/ready").json()["status"] == "ready"
    plain = httpx.get(
        f"{real.url}/hub/login", headers={"Host": HOST}, follow_redirects=False, trust_env=False
    )
    assert plain.status_code in {301, 302, 307, 308}
    assert plain.headers["Location"].startswith(f"https://{HOST}")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused(
    real: Release, authority: Authority, version: ssl.TLSVersion
) -> None:
    old = trusting(authority)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = version
    with client(real, old) as found, pytest.raises(httpx.ConnectError):
        found.get("/hub/login", extensions={"sni_hostname": HOST})
    new = trusting(authority)
    new.maximum_version = ssl.TLSVersion.TLSv1_2
    with client(real, new) as found:
        assert ask(found, "/hub/login").status_code == 200


def test_a_database_elsewhere_is_spoken_to_by_tls_that_checks_its_name(
    real: Release, outside: Outside
) -> None:
    who = outside.sessions()
    assert {name for name, _ in who} == {"himalia", "jupyterhub"}
    assert {version for _, version in who} <= {"TLSv1.2", "TLSv1.3"}
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    for name in ("himalia", "jupyterhub"):
        with psycopg.connect(outside.server.url(name)) as connection:
            (count,) = connection.execute(tables).fetchone() or (0,)
            assert count > 10, name
    assert real.get("statefulsets")["items"] == []
    kept = real.get("secret", "outside")["data"]["store-url"]
    assert base64.b64decode(kept).decode() not in str(real.get("configmaps"))
