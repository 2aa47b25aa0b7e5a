"""What users' pods reach, and who reaches them: NetworkPolicies, all else being closed."""

from __future__ import annotations

import ipaddress
from typing import Any

from himalia_hub.kubernetes.settings import Kubernetes

_COMPONENT = "app.kubernetes.io/component"
_EVERYWHERE = ("0.0.0.0/0", "::/0")
_HUB, _PROXY, _SESSION = 8081, 8000, 8888


def policies(settings: Kubernetes) -> list[tuple[str, dict[str, Any]]]:
    """Return names and specifications; without any of them a pod would reach everything."""
    everybody: dict[str, Any] = {}
    sessions = {"matchLabels": {_COMPONENT: "session"}}
    # Agents need no network: control talks to them through the API server.
    workers = {
        "matchExpressions": [{"key": _COMPONENT, "operator": "In", "values": ["session", "run"]}]
    }
    return [
        ("himalia-closed", {"podSelector": everybody, "policyTypes": ["Ingress", "Egress"]}),
        (
            "himalia-egress",
            {"podSelector": workers, "policyTypes": ["Egress"], "egress": _egress(settings)},
        ),
        (
            "himalia-sessions",
            {"podSelector": sessions, "policyTypes": ["Ingress"], "ingress": _ingress(settings)},
        ),
    ]


def _egress(settings: Kubernetes) -> list[dict[str, Any]]:
    dns = {
        "namespaceSelector": _namespace(settings.dns_namespace),
        "podSelector": {"matchLabels": dict(settings.dns_labels)},
    }
    rules: list[dict[str, Any]] = [
        {"to": [dns], "ports": [_port(53, "UDP"), _port(53)]},
        {"to": [_part(settings, "hub")], "ports": [_port(_HUB)]},
        {"to": [_part(settings, "control")], "ports": [_port(settings.control_port)]},
        {"to": [_part(settings, "proxy")], "ports": [_port(_PROXY)]},
    ]
    if settings.internet:
        rules.append({"to": [_outside(settings, everywhere) for everywhere in _EVERYWHERE]})
    return [*rules, *(dict(rule) for rule in settings.egress)]


def _ingress(settings: Kubernetes) -> list[dict[str, Any]]:
    ours = {
        "from": [_part(settings, "hub"), _part(settings, "proxy")],
        "ports": [_port(_SESSION)],
    }
    return [ours, *(dict(rule) for rule in settings.ingress)]


def _part(settings: Kubernetes, component: str) -> dict[str, Any]:
    """Select a part of the hub: pods with its labels elsewhere are somebody else's."""
    return {
        "namespaceSelector": _namespace(settings.release_namespace),
        "podSelector": {"matchLabels": {_COMPONENT: component}},
    }


def _namespace(name: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def _outside(settings: Kubernetes, everywhere: str) -> dict[str, Any]:
    version = ipaddress.ip_network(everywhere).version
    closed = [one for one in settings.closed_ranges if ipaddress.ip_network(one).version == version]
    return {"ipBlock": {"cidr": everywhere, "except": closed}}


def _port(number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": number, "protocol": protocol}
