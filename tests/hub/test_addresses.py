"""Where a hub listens, where browsers find it, and what is said where that leaves gaps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from jupyterhub.app import JupyterHub
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from himalia_hub import hosts
from himalia_hub.written import Plan, Wish, proxy_arguments, write

SUBDOMAIN, SECURE = "c.JupyterHub.subdomain_host", "c.JupyterHub.ssl_cert = '/c.pem'"


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Plan]:
    """Plan a hub with these lines in its file, and with this address on the command line."""

    def plan(*lines: str, bind_url: str | None = None) -> Plan:
        file = tmp_path / "admins.py"
        first = ("c = get_config()", "from himalia_hub import configure", "configure(c)")
        file.write_text("\n".join((*first, *lines)))
        return write(Wish(config=file, state=str(tmp_path / "state"), bind_url=bind_url))

    return plan


@pytest.mark.parametrize(
    ("lines", "bind_url", "listens", "base", "public"),
    [
        ((), None, "http://127.0.0.1:8000", "/", "http://127.0.0.1:8000/"),
        ((), "http://0.0.0.0:80", "http://0.0.0.0:80", "/", "http://127.0.0.1:80/"),
        (
            ("c.JupyterHub.base_url = 'team/lab'",),
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9000/team/lab/",
            "/team/lab/",
            "http://127.0.0.1:9000/team/lab/",
        ),
        (
            ("c.JupyterHub.bind_url = 'http://10.0.0.1:80/lab/'",),
            None,
            "http://10.0.0.1:80/lab/",
            "/lab/",
            "http://10.0.0.1:80/lab/",
        ),
        (
            ("c.JupyterHub.bind_url = 'http://10.0.0.1:80/lab'",),
            "http://[::1]:9000",
            "http://[::1]:9000/lab/",
            "/lab/",
            "http://[::1]:9000/lab/",
        ),
        (
            ("c.JupyterHub.ip = '::1'", "c.JupyterHub.port = 81", SECURE),
            None,
            "https://[::1]:81",
            "/",
            "https://[::1]:81/",
        ),
        (
            ("c.JupyterHub.base_url = '/lab/'", f"{SUBDOMAIN} = 'hub.example.org'"),
            None,
            "http://127.0.0.1:8000/lab/",
            "/lab/",
            "https://hub.example.org/lab/",
        ),
        (
            ("c.JupyterHub.public_url = 'https://hub.example.org/'",),
            None,
            "http://127.0.0.1:8000",
            "/",
            "https://hub.example.org/",
        ),
    ],
)
def test_the_hub_and_its_supervisor_go_by_the_same_address(
    planned: Callable[..., Plan],
    lines: tuple[str, ...],
    bind_url: str | None,
    listens: str,
    base: str,
    public: str,
) -> None:
    plan = planned(*lines, bind_url=bind_url)
    assert (plan.bind_url, plan.base_url, plan.public_url) == (listens, base, public)
    assert f"{plan.hub_url}{base}hub/error" in proxy_arguments(plan)
    hub = JupyterHub(config=PyFileConfigLoader(str(plan.config)).load_config())
    assert (hub.bind_url, hub.base_url) == (listens, base)


@pytest.mark.parametrize(
    ("host", "said", "is_bound"),
    [
        ("'https://hub.example.org'", "", True),
        ("'hub.example.org'", "", True),  # JupyterHub takes it for https as well
        ("'http://hub.localhost:8000'", "", False),
        ("''", "", False),
        ("'https://hub.example.org'", "c.JupyterHub.cookie_host_prefix_enabled = False", False),
        ("''", "c.JupyterHub.cookie_host_prefix_enabled = True", True),
    ],
)
def test_019_control_binds_its_cookies_to_its_host_where_the_hub_does(
    planned: Callable[..., Plan], host: str, said: str, is_bound: bool
) -> None:
    c = PyFileConfigLoader(str(planned(f"{SUBDOMAIN} = {host}", said).config)).load_config()
    assert JupyterHub(config=c).cookie_host_prefix_enabled == is_bound
    assert hosts.binds_cookies(c) == is_bound


@pytest.mark.parametrize(
    ("host", "is_told"),
    [
        ("http://hub.example.org", True),
        ("http://localhost.example.org:8000", True),
        ("http://hub.localhost:8000", False),
        ("https://hub.example.org", False),
        ("", False),
    ],
)
def test_hosts_without_tls_are_warned_of(
    caplog: pytest.LogCaptureFixture, host: str, is_told: bool
) -> None:
    c = Config()
    c.JupyterHub.subdomain_host = host
    with caplog.at_level(logging.WARNING, logger="himalia.hub"):
        hosts.warn_of(c)
    assert ("without TLS" in caplog.text) == is_told
