"""A real Keycloak for tests, with a realm for the hub and one of a partner that it brokers.

It is fetched once into HIMALIA_CACHE (``python tests/servers/keycloak.py`` does only that), keeps
everything in memory, and is started once in a test session: that takes about 20 s.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port

VERSION = "26.4.0"
_SHA256 = "1b6a11a2726ac8a8dc9c91d5fafe989a75ce4f1622d7f7b45c21d5bc16629c0a"
_CENTRAL = "https://repo.maven.apache.org/maven2"
_FILE = f"keycloak-quarkus-dist-{VERSION}.zip"
_REALMS = Path(__file__).resolve().parents[1] / "identity"
TEAM = "team"
PARTNER = "partner"
CLIENT = "himalia"


def distribution() -> Path:
    """Return the folder of Keycloak, fetched and unpacked if need be."""
    cache = Path(os.environ.get("HIMALIA_CACHE") or Path.home() / ".cache/himalia")
    folder = cache / f"keycloak-{VERSION}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        archive = _fetch(Path(scratch))
        if hashlib.sha256(archive.read_bytes()).hexdigest() != _SHA256:
            raise RuntimeError(f"{_FILE} is not the file that it should be")
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(scratch)
        made = Path(scratch) / folder.name
        (made / "bin/kc.sh").chmod(0o755)
        with contextlib.suppress(OSError):  # somebody else was as quick
            made.rename(folder)
    return folder


def _fetch(folder: Path) -> Path:
    """Get the archive by Maven, whose settings know where from, or from where Maven would."""
    if shutil.which("mvn"):
        subprocess.run(
            [
                *("mvn", "--quiet", "--batch-mode", "dependency:copy"),
                f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{VERSION}:zip",
                f"-DoutputDirectory={folder}",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return folder / _FILE
    url = f"{_CENTRAL}/org/keycloak/keycloak-quarkus-dist/{VERSION}/{_FILE}"
    with (
        httpx.stream("GET", url, timeout=PATIENCE_SECONDS, follow_redirects=True) as answer,
        (folder / _FILE).open("wb") as file,
    ):
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            file.write(chunk)
    return folder / _FILE


class Keycloak:
    """One Keycloak; what is changed in its realms stays so until it ends."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.url}/realms/{TEAM}"
        self.secret = secrets.token_urlsafe(24)
        self._password = secrets.token_urlsafe(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, trust_env=False)
        self._token_until = 0.0

    def __enter__(self) -> Self:
        self._log = tempfile.NamedTemporaryFile(prefix="keycloak-", suffix=".log")
        try:
            self._start()
            for realm in (PARTNER, TEAM):
                self._import(realm)
            self._offer_audience()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        command = [
            *(str(distribution() / "bin/kc.sh"), "start-dev", "--db=dev-mem", "--cache=local"),
            *("--http-host=127.0.0.1", f"--http-port={self.port}"),
        ]
        environment = os.environ | {
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self._password,
            # Half a minute of life: what the compiler saves later is not worth its start.
            "JAVA_OPTS_GC": "-XX:+UseSerialGC",
            "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1 -Xmx768m",
        }
        self._process = subprocess.Popen(
            command, env=environment, stdout=self._log, stderr=self._log, start_new_session=True
        )
        end = time.monotonic() + PATIENCE_SECONDS
        while "Listening on" not in (said := self.log()):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Keycloak did not start:\n{said[-3000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._http.close()
        self._log.close()

    def pause(self) -> None:
        """Let it answer nothing until :meth:`resume`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def log(self) -> str:
        """Return what it said."""
        return Path(self._log.name).read_text(errors="replace")

    def admin(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Ask for an address below ``admin/realms/team``, as the administrator."""
        return self._ask(method, f"/admin/realms/{TEAM}/{path}", **options)

    def serve(self, hub: str) -> None:
        """Take the hub at this address for the client, and nothing else."""
        client = self.client()
        client["redirectUris"] = [f"{hub}/hub/oauth_callback"]
        client["attributes"]["post.logout.redirect.uris"] = f"{hub}/hub/login"
        client["attributes"]["backchannel.logout.url"] = f"{hub}/hub/oidc/backchannel-logout"
        self.admin("PUT", f"clients/{client['id']}", json=client)

    def client(self) -> dict[str, Any]:
        """Return the hub's client as Keycloak has it."""
        found: dict[str, Any] = self.admin("GET", "clients", params={"clientId": CLIENT}).json()[0]
        return found

    def user(self, name: str) -> dict[str, Any]:
        """Return a user of the team."""
        asked = {"username": name, "exact": "true"}
        found: dict[str, Any] = self.admin("GET", "users", params=asked).json()[0]
        return found

    def make(self, name: str, *groups: str, **fields: Any) -> str:
        """Make a user whose password is ``NAME-password``, and return their id."""
        self.admin(
            "POST",
            "users",
            json={
                "username": name,
                "firstName": name.capitalize(),
                "lastName": "Test",
                "email": f"{name}@team.test",
                "emailVerified": True,
                "enabled": True,
                "groups": list(groups),
                "credentials": [{"type": "password", "value": f"{name}-password"}],
                **fields,
            },
        )
        return str(self.user(name)["id"])

    def change(self, user_id: str, **fields: Any) -> None:
        """Change fields of a user, as `enabled`."""
        kept = self.admin("GET", f"users/{user_id}").json()
        self.admin("PUT", f"users/{user_id}", json={**kept, **fields})

    def leave(self, user_id: str, group: str) -> None:
        """Take a user out of a group."""
        for one in self.admin("GET", f"users/{user_id}/groups").json():
            if one["path"] == group:
                self.admin("DELETE", f"users/{user_id}/groups/{one['id']}")

    def _import(self, realm: str) -> None:
        text = (_REALMS / ("realm.json" if realm == TEAM else f"{realm}.json")).read_text()
        text = text.replace("@KEYCLOAK@", self.url).replace("@SECRET@", self.secret)
        headers = {"Content-Type": "application/json"}
        self._ask("POST", "/admin/realms", content=text, headers=headers)

    def _offer_audience(self) -> None:
        """Let the hub ask for tokens for team-data; a realm file with scopes must have all."""
        scope = {
            "name": "team-data",
            "protocol": "openid-connect",
            "protocolMappers": [
                {
                    "name": "audience",
                    "protocol": "openid-connect",
                    "protocolMapper": "oidc-audience-mapper",
                    "config": {
                        "included.client.audience": "team-data",
                        "access.token.claim": "true",
                    },
                }
            ],
        }
        made = self.admin("POST", "client-scopes", json=scope).headers["Location"]
        number = made.rsplit("/", 1)[1]
        client = self.client()["id"]
        self.admin("PUT", f"clients/{client}/optional-client-scopes/{number}")

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        if time.monotonic() > self._token_until:
            self._sign_in()
        answer = self._http.request(method, path, **options)
        assert answer.status_code < 300, (method, path, answer.status_code, answer.text)
        return answer

    def _sign_in(self) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin"}
        answer = self._http.post(
            "/realms/master/protocol/openid-connect/token",
            data={**form, "password": self._password},
        )
        assert answer.status_code == 200, answer.text
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        self._token_until = time.monotonic() + 30


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """The one of this test session."""
    with Keycloak() as made:
        yield made


if __name__ == "__main__":
    distribution()
