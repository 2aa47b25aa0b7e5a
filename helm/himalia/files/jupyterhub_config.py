"""The configuration of hub, control and the keeper of namespaces, from the chart's values."""

import json
from pathlib import Path

from himalia_hub import configure

c = get_config()  # noqa: F821 - JupyterHub's
_HERE = Path(__file__).parent
_SECRETS = Path("/var/run/himalia/secrets")
_values = json.loads((_HERE / "values.json").read_text())
_hub, _user, _release = _values["hub"], _values["singleuser"], _values["release"]


def _secret(name):
    """Return a secret, where this component has it."""
    path = _SECRETS / name
    return path.read_text().strip() if path.exists() else None


def _set(section, **traits):
    """Set what has a value; the others keep their defaults."""
    for name, value in traits.items():
        if value is not None and value != "":
            section[name] = value


def _other_dns(dns):
    """Return rules for a DNS that is not at port 53 of its pods alone."""
    told = {"kubernetes.io/metadata.name": dns["namespace"]}
    pods = {
        "namespaceSelector": {"matchLabels": told},
        "podSelector": {"matchLabels": dns["podLabels"]},
    }
    peers = [pods, *({"ipBlock": {"cidr": one}} for one in dns["addresses"])]
    ports = [{"port": port, "protocol": kind} for port in dns["ports"] for kind in ("UDP", "TCP")]
    is_usual = dns["ports"] == [53] and not dns["addresses"]
    return [] if is_usual else [{"to": peers, "ports": ports}]


# Where everything is.
c.JupyterHub.base_url = _hub["baseUrl"]
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = f"http://hub.{_release['namespace']}:8081"
_tls = "/var/run/himalia/tls" if _values["internalTls"] else ""
_proxy_api = f"https://proxy-api.{_release['namespace']}:8001"
c.ConfigurableHTTPProxy.api_url = _proxy_api if _tls else "http://proxy-api:8001"
_set(c.JupyterHub, db_url=_secret("hub-url"))
_set(
    c.Himalia,
    platform="kubernetes",
    state="/var/lib/himalia/state",
    secrets=str(_SECRETS),
    store_url=_secret("store-url"),
    idle_seconds=_values["cull"]["timeout"] if _values["cull"]["enabled"] else 0,
    max_age_seconds=_values["cull"]["maxAge"],
)
if _values["hstsSeconds"]:
    _hsts = f"max-age={_values['hstsSeconds']}; includeSubDomains"
    c.JupyterHub.tornado_settings = {
        "headers": {"Strict-Transport-Security": _hsts},
        "xsrf_cookie_kwargs": {"secure": True},
    }

# Users' namespaces, sessions and homes.
_storage, _network = _user["storage"], _user["networkPolicy"]
_is_nfs = _storage["type"] == "nfs"
_set(
    c.Kubernetes,
    release_namespace=_release["namespace"],
    tls_folder=_tls,
    self_test=f"helm test {_release['name']} --namespace {_release['namespace']}",
    prefix=_values["namespaces"]["prefix"],
    on_home=_values["namespaces"]["onUserDeleted"],
    sessions_role=f"{_release['namespace']}-{_release['name']}-sessions",
    runs_role=f"{_release['namespace']}-{_release['name']}-runs",
    image=_user["reference"],
    pull_policy=_user["image"]["pullPolicy"],
    uid=_user["uid"],
    gid=_user["fsGid"],
    home_size=_storage["capacity"],
    watch_all=_values["watchAll"],
    nfs_server=_storage["nfs"]["server"] if _is_nfs else None,
    nfs_export=_storage["nfs"]["export"] if _is_nfs else None,
    nfs_options=_storage["nfs"]["mountOptions"] if _is_nfs else None,
    storage_class=None if _is_nfs else _storage["dynamic"]["storageClass"],
    access_mode=None if _is_nfs else _storage["dynamic"]["accessMode"],
    internet=_network["internet"],
    closed_ranges=_network.get("closedRanges"),
    egress=[*_network["egress"], *_other_dns(_values["dns"])],
    ingress=_network["ingress"],
    dns_namespace=_values["dns"]["namespace"],
    dns_labels=_values["dns"]["podLabels"],
    profiles=_user["profiles"],
    node_selector=_user["nodeSelector"],
    tolerations=_user["extraTolerations"],
    quota=_user.get("quota"),
    limits=_user.get("limits"),
)
if _values["pullSecret"]:
    c.Kubernetes.pull_secret_file = "/var/run/himalia/pull/.dockerconfigjson"  # noqa: S105 - a path
if _user["certificates"]["configMap"]:
    c.Kubernetes.ca_file = "/var/run/himalia/certificates/ca.crt"
_set(
    c.Spawner,
    default_url=_user["defaultUrl"],
    start_timeout=_user["startTimeout"],
    environment=_user["extraEnv"],
    cpu_limit=_user["cpu"].get("limit"),
    cpu_guarantee=_user["cpu"].get("guarantee"),
    mem_limit=_user["memory"].get("limit"),
    mem_guarantee=_user["memory"].get("guarantee"),
)

# What the administrator says comes after what the chart's own values say.
for _section, _traits in _hub["config"].items():
    c[_section].update(_traits)
# Without a login of the administrator's choice there are two passwords, made at the first install.
if not (c.JupyterHub.get("authenticator_class") or c.Himalia.get("oidc_issuer")):
    c.JupyterHub.authenticator_class = "shared-password"
    _set(
        c.SharedPasswordAuthenticator,
        user_password=_secret("login-password"),
        admin_password=_secret("admin-password"),
    )
    c.Authenticator.allow_all = True
    c.Authenticator.admin_users = set(c.Authenticator.get("admin_users") or ()) or {"admin"}
configure(c)
for _name, _code in sorted(_hub["extraConfig"].items()):
    exec(compile(_code, f"hub.extraConfig.{_name}", "exec"))  # noqa: S102 - the administrator's own
