"""Every setting of a hub on Kubernetes, as ``c.Kubernetes.…`` in ``jupyterhub_config.py``."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any

from traitlets import Bool, Dict, Enum, Float, Int, List, Unicode, default, validate
from traitlets.config import Configurable

from himalia_hub.kubernetes.profiles import bytes_of, read
from himalia_hub.kubernetes.projects import read_projects

CLOSED = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    *("169.254.0.0/16", "127.0.0.0/8", "168.63.129.16/32", "192.0.0.192/32"),
    *("fc00::/7", "fe80::/10", "::1/128"),
)
"""Private networks, what a machine has for itself, and where clouds tell machines their secrets."""


class Kubernetes(Configurable):
    """What an administrator may choose where ``c.Himalia.platform`` is ``kubernetes``.

    The hub, control and the process that makes namespaces read the same settings, each from the
    same file.
    """

    release_namespace = Unicode(
        help="""Namespace of the hub itself. By default what ``POD_NAMESPACE`` says.""",
    ).tag(config=True)

    prefix = Unicode(
        "himalia",
        help="""First part of the names of users' namespaces: at most 20 small letters, digits and
        hyphens. Hubs of one cluster need a prefix each.""",
    ).tag(config=True)

    image = Unicode(
        "himalia-session",
        help="""Image of users' sessions and jobs, best with its digest.""",
    ).tag(config=True)

    pull_policy = Enum(
        ("IfNotPresent", "Always", "Never"),
        "IfNotPresent",
        help="""When a node asks the registry for an image.""",
    ).tag(config=True)

    pull_secret_file = Unicode(
        "",
        help="""A file with credentials for registries (``.dockerconfigjson``), which every user's
        namespace gets as a secret.""",
    ).tag(config=True)

    ca_file = Unicode(
        "",
        help="""A file with the certificates (PEM) that sessions and jobs trust, instead of those
        of their image: for networks with certificates of their own.""",
    ).tag(config=True)

    python = Unicode(
        "/opt/himalia/bin/python",
        help="""Python of the sessions' image, in an environment with Himalia.""",
    ).tag(config=True)

    uid = Int(
        1000,
        help="""Number of the account that sessions and jobs run under; never 0. Homes belong to it.
        """,
    ).tag(config=True)

    gid = Int(1000, help="""Number of that account's group.""").tag(config=True)

    home_size = Unicode(
        "10Gi",
        help="""Size of a home. A storage class holds to it; an NFS export has quotas of its own.
        """,
    ).tag(config=True)

    nfs_server = Unicode(
        "",
        help="""NFS server with the homes, each in a folder of its own below ``nfs_export``. Empty:
        ``storage_class`` gives every user a volume.""",
    ).tag(config=True)

    nfs_export = Unicode(
        "/",
        help="""Path of the export on ``nfs_server``. Only the process that makes namespaces mounts
        it as a whole.""",
    ).tag(config=True)

    nfs_options = List(
        Unicode(),
        help="""Mount options of the homes: ``["nfsvers=4.1", "hard", "noatime"]``.""",
    ).tag(config=True)

    nfs_folder = Unicode(
        "/srv/homes",
        help="""Where the process that makes namespaces has ``nfs_export`` mounted. The account
        ``uid`` must be able to make folders there.""",
    ).tag(config=True)

    storage_class = Unicode(
        "",
        help="""StorageClass of the homes where there is no ``nfs_server``: one that lets several
        pods write at once. Empty: the cluster's default.""",
    ).tag(config=True)

    access_mode = Enum(
        ("ReadWriteMany", "ReadWriteOnce"),
        "ReadWriteMany",
        help="""``ReadWriteOnce`` only where the cluster has a single node: a job's pod needs the
        home while the session has it too.""",
    ).tag(config=True)

    on_home = Enum(
        ("archive", "keep", "delete"),
        "archive",
        help="""What becomes of the home of a user whom the hub knows no more: ``archive`` it for
        ``c.Himalia.retired_days``, ``keep`` it until somebody deletes it, or ``delete`` it at once.
        The namespace goes in any case.""",
    ).tag(config=True)

    quota = Dict(
        help="""Limits of each user's namespace, as in ``ResourceQuota``:
        ``{"limits.memory": "64Gi", "requests.nvidia.com/gpu": "1"}``.""",
    ).tag(config=True)

    limits = Dict(
        help="""What a container gets that says nothing of it, as in ``LimitRange``, with the keys
        ``default``, ``defaultRequest``, ``max``.""",
    ).tag(config=True)

    profiles = List(
        Dict(),
        help="""What users may choose from for a session, and for a job. Each has a ``name`` and may
        have ``title``, ``description``, ``image``, ``cpu`` and ``memory`` (the limit),
        ``cpu_guarantee`` and ``memory_guarantee``, ``gpu`` (a number), ``gpu_kind``,
        ``node_selector``, ``tolerations``, ``price`` (shown), ``users`` and ``groups`` (who may use
        it; without both: everybody) and ``is_default``.""",
    ).tag(config=True)

    projects = List(
        Dict(),
        help="""Folders that groups share, each a folder below ``projects`` of the NFS export and at
        ``/projects/<name>`` in the sessions and runs of their members. Each has a ``name``, the
        ``groups`` whose members may write there and may have ``readers``, groups that read.""",
    ).tag(config=True)

    node_selector = Dict(
        help="""Labels of the nodes that sessions and jobs may run on.""",
    ).tag(config=True)

    tolerations = List(
        Dict(),
        help="""Taints of nodes that sessions and jobs put up with.""",
    ).tag(config=True)

    internet = Bool(
        True,
        help="""Whether sessions and jobs reach addresses outside ``closed_ranges``.""",
    ).tag(config=True)

    closed_ranges = List(
        Unicode(),
        default_value=list(CLOSED),
        help="""Networks that sessions and jobs do not reach, unless ``egress`` names them: private
        ones, and those where clouds tell a machine's secrets. Add the cluster's own where they are
        public addresses.""",
    ).tag(config=True)

    egress = List(
        Dict(),
        help="""What sessions and jobs reach besides, as rules of a ``NetworkPolicy``:
        ``[{"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 443}]}]``.""",
    ).tag(config=True)

    ingress = List(
        Dict(),
        help="""Who besides the hub and its proxy reaches users' sessions, as rules of a
        ``NetworkPolicy``.""",
    ).tag(config=True)

    dns_namespace = Unicode("kube-system", help="""Namespace of the cluster's DNS.""").tag(
        config=True
    )

    dns_labels = Dict(
        default_value={"k8s-app": "kube-dns"},
        help="""Labels of the pods of the cluster's DNS.""",
    ).tag(config=True)

    namespaces_url = Unicode(
        help="""Where the hub and control find the process that makes namespaces. By default
        ``http://namespaces:8400``, and ``https`` with ``tls_folder``.""",
    ).tag(config=True)

    control_url = Unicode(
        help="""Where sessions and jobs find control. By default
        ``http://control.<release_namespace>:8300``.""",
    ).tag(config=True)

    control_parts_url = Unicode(
        help="""Where the proxy and the hub find control. By default ``control_url``; with
        ``tls_folder`` it is ``https://control.<release_namespace>:8443``.""",
    ).tag(config=True)

    hub_parts_url = Unicode(
        help="""Where the proxy and control find the hub, with ``tls_folder``. By default
        ``https://hub.<release_namespace>:8444``.""",
    ).tag(config=True)

    tls_folder = Unicode(
        "",
        help="""Folder with ``tls.key``, ``tls.crt`` and ``ca.crt`` of one part of the hub. Where it
        is set, the proxy, the hub, control and the process that makes namespaces speak to each
        other by TLS, each with a certificate of that authority; users' pods have none, and ports of
        their own. Empty: parts speak without TLS.""",
    ).tag(config=True)

    control_port = Int(8300, help="""Port that control listens on.""").tag(config=True)

    control_tls_port = Int(
        8443,
        help="""Port that control listens on for other parts of the hub, with ``tls_folder``.
        """,
    ).tag(config=True)

    hub_tls_port = Int(
        8444, help="""Port that the hub listens on for other parts of it, with ``tls_folder``."""
    ).tag(config=True)

    health_port = Int(
        8401,
        help="""Port that the process that makes namespaces says on whether it lives, with
        ``tls_folder``: nodes have no certificate.""",
    ).tag(config=True)

    namespaces_port = Int(
        8400, help="""Port that the process that makes namespaces listens on."""
    ).tag(config=True)

    hub_account = Unicode("hub", help="""Service account of the hub, in its own namespace.""").tag(
        config=True
    )

    control_account = Unicode(
        "control", help="""Service account of control, in the hub's namespace."""
    ).tag(config=True)

    sessions_role = Unicode(
        "himalia-sessions",
        help="""ClusterRole that the hub has in each user's namespace, and nowhere else.""",
    ).tag(config=True)

    runs_role = Unicode(
        "himalia-runs",
        help="""ClusterRole that control has in each user's namespace, and nowhere else.""",
    ).tag(config=True)

    self_test = Unicode(
        help="""Command that sees whether users are apart; the admin page shows it as the next step.
        By default ``helm test himalia --namespace <release_namespace>``.""",
    ).tag(config=True)

    watch_all = Bool(
        False,
        help="""Whether control follows the runs of all users by one watch, for which it must be
        allowed to list and watch pods in all namespaces; otherwise it has a watch for each user
        with runs that are on. For more than a thousand of those at once.""",
    ).tag(config=True)

    repair_seconds = Float(
        600.0,
        help="""How often every user's namespace is compared with what it should be; a user's own is
        at each start of a session besides. 0: never.""",
    ).tag(config=True)

    @property
    def agreed_bytes(self) -> int | None:
        """The size of a home where its file system tells of everybody's."""
        return bytes_of(self.home_size) if self.nfs_server else None

    @default("release_namespace")
    def _default_release_namespace(self) -> str:
        return os.environ.get("POD_NAMESPACE", "default")

    @default("control_url")
    def _default_control_url(self) -> str:
        return f"http://control.{self.release_namespace}:{self.control_port}"

    @default("namespaces_url")
    def _default_namespaces_url(self) -> str:
        if self.tls_folder:
            return f"https://namespaces.{self.release_namespace}:{self.namespaces_port}"
        return f"http://namespaces:{self.namespaces_port}"

    @default("control_parts_url")
    def _default_control_parts_url(self) -> str:
        if self.tls_folder:
            return f"https://control.{self.release_namespace}:{self.control_tls_port}"
        return str(self.control_url)

    @default("hub_parts_url")
    def _default_hub_parts_url(self) -> str:
        return f"https://hub.{self.release_namespace}:{self.hub_tls_port}"

    @default("self_test")
    def _default_self_test(self) -> str:
        return f"helm test himalia --namespace {self.release_namespace}"

    @default("quota")
    def _default_quota(self) -> dict[str, str]:
        return {
            "pods": "100",
            "persistentvolumeclaims": str(10 + len(self.projects)),
            "services.loadbalancers": "0",
            "services.nodeports": "0",
        }

    @default("limits")
    def _default_limits(self) -> dict[str, dict[str, str]]:
        return {
            "default": {"cpu": "2", "memory": "2Gi"},
            "defaultRequest": {"cpu": "100m", "memory": "256Mi"},
        }

    @validate("uid")
    def _not_root(self, proposal: dict[str, int]) -> int:
        if proposal["value"] < 1:
            raise ValueError("Kubernetes.uid must not be 0: nothing of a user's runs as root.")
        return proposal["value"]

    @validate("prefix")
    def _good_prefix(self, proposal: dict[str, str]) -> str:
        if re.fullmatch(r"[a-z][a-z0-9-]{0,19}", proposal["value"]) is None:
            raise ValueError(
                "Kubernetes.prefix takes at most 20 small letters, digits and hyphens, and begins "
                "with a letter."
            )
        return proposal["value"]

    @validate("home_size")
    def _good_size(self, proposal: dict[str, str]) -> str:
        try:
            bytes_of(proposal["value"])
        except ValueError:
            raise ValueError('Kubernetes.home_size is a quantity such as "10Gi".') from None
        return proposal["value"]

    @validate("closed_ranges")
    def _good_ranges(self, proposal: dict[str, list[str]]) -> list[str]:
        return [str(ipaddress.ip_network(one)) for one in proposal["value"]]

    @validate("projects")
    def _good_projects(self, proposal: dict[str, Any]) -> list[dict[str, Any]]:
        return read_projects(proposal["value"])

    @validate("profiles")
    def _good_profiles(self, proposal: dict[str, Any]) -> list[dict[str, Any]]:
        return read(proposal["value"])
