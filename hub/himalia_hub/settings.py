"""Every setting of a hub with Himalia, as ``c.Himalia.…`` in ``jupyterhub_config.py``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from traitlets import Bool, Dict, Enum, Float, Int, List, Tuple, Unicode, default, validate

from himalia_hub.identity.settings import OidcSettings

POSTGRESQL = ("postgresql://", "postgresql+psycopg://", "postgres://")


class Himalia(OidcSettings):
    """What a hub's administrator may choose.

    The hub, its spawner, its authenticator and control read the same settings, each from the
    same file; so they belong there, and not on JupyterHub's command line.
    """

    state = Unicode(
        help="""Folder of all that Himalia keeps: its store, its secrets, and the users' homes where
        Himalia makes the accounts. By default ``/var/lib/himalia`` where the hub runs as root, and
        ``himalia-hub`` in the user's data folder (``~/.local/share``) otherwise.""",
    ).tag(config=True)

    platform = Enum(
        ("machine", "kubernetes"),
        "machine",
        help="""Where servers and jobs run. ``machine``: as processes of the hub's own machine.
        ``kubernetes``: as pods, in a namespace for each user; ``c.Kubernetes.…`` says how.""",
    ).tag(config=True)

    secrets = Unicode(
        "",
        help="""Folder of secrets that somebody else made, one file each, such as a mounted Secret
        of Kubernetes: ``cookie-secret``, ``crypt-key``, ``proxy-token``, ``control-token``,
        ``control-cookies``, ``namespaces-token``; 64 hexadecimal digits each. Empty: Himalia makes
        them in the state folder.""",
    ).tag(config=True)

    store_url = Unicode(
        "",
        help="""Database of control: ``postgresql://user:password@host/name``. Empty: SQLite in the
        state folder. It may have a password in it: see that nobody else can read your
        configuration, or take the address from a file or the environment.""",
    ).tag(config=True)

    accounts = Enum(
        ("own", "system"),
        "own",
        help="""Which system accounts servers and jobs run under, where the hub runs as root.
        ``own``: Himalia makes one for each user (``hm-…``), with a home in the state folder.
        ``system``: the accounts that the system has, by the users' names at the hub.""",
    ).tag(config=True)

    account_numbers = Tuple(
        Int(),
        Int(),
        default_value=(70_000, 99_999),
        help="""First and last number of the system accounts that Himalia makes. None is ever given
        twice, so that nobody inherits files that an account left somewhere.""",
    ).tag(config=True)

    account_shell = Unicode(
        "/bin/bash",
        help="""Shell of the system accounts that Himalia makes; their passwords are locked.""",
    ).tag(config=True)

    retired_days = Float(
        30.0,
        help="""How long the home of a user whom the hub knows no more is kept in ``retired``
        below the state folder, where only root can read it.""",
    ).tag(config=True)

    python = Unicode(
        help="""Python that servers and jobs run with: the path of a ``python`` in an environment
        that has Himalia with its extra ``hub``, and that other accounts may execute. By default
        the hub's own.""",
    ).tag(config=True)

    demo = Bool(
        False,
        help="""Let anybody in who knows the one password that is made at each start. Only for
        trying out: the hub refuses to start with it unless it listens on a loopback address.""",
    ).tag(config=True)

    login_failures = Int(
        10,
        help="""How many wrong passwords for one account are let through from one address within
        ``login_window_seconds``; whoever sends more is told how long to wait. From one address
        twenty times as many are let through for all accounts together, and for one account five
        times as many from all addresses. A browser that the user has logged in with before does
        not wait for what others do. 0: no limit. Where another proxy stands before the hub's, set
        ``c.JupyterHub.trusted_downstream_ips``, or all requests come from its address. For logins
        by the hub's own form; an OpenID Connect provider has limits of its own.""",
    ).tag(config=True)

    login_window_seconds = Float(300.0, help="""The time that ``login_failures`` goes by.""").tag(
        config=True
    )

    group_admins = Dict(
        value_trait=List(Unicode()),
        key_trait=Unicode(),
        help="""Who may see and steer what the members of a group run:
        ``{"physics": ["alice", "@professors"]}``: users by name, groups with an ``@``.""",
    ).tag(config=True)

    idle_seconds = Float(
        3600.0,
        help="""After the last activity, until a user's server is stopped; 0 means never. Running
        kernels, runs and open connections are activity. Jobs go on without a server.""",
    ).tag(config=True)

    max_age_seconds = Float(
        0.0,
        help="""After its start, until a user's server is stopped whatever it does; 0 means never.
        """,
    ).tag(config=True)

    idle_check_seconds = Float(
        60.0,
        help="""How often control looks which servers are idle.""",
    ).tag(config=True)

    idle_exempt_groups = List(
        Unicode(),
        help="""Groups whose members' servers are never stopped for being idle or old.""",
    ).tag(config=True)

    roll_call_seconds = Float(
        5.0,
        help="""How long control waits, at least, before it compares the people it knows with the
        hub's users again. Where there are more than 250 users it waits 0.02 s for each of them,
        so that the hub is not kept busy; when the hub tells of a change it does not wait.""",
    ).tag(config=True)

    most_missing = Int(
        20,
        help="""When more users than this are missing at the hub at once, that is taken for a
        mistake (another database, say): nothing of theirs is touched until they are back or this
        is raised.""",
    ).tag(config=True)

    max_running = Int(
        help="""Runs of all users at once; the others wait in the queue. By default one for each
        core of the machine, and at least two; 500 on Kubernetes, which has a queue of its own.""",
    ).tag(config=True)

    smtp_url = Unicode(
        "",
        help="""Mail server for notifications: ``smtp://user:password@host:port?from=address``
        (STARTTLS where the server offers it), or ``smtps:`` for TLS from the start.""",
    ).tag(config=True)

    metrics = Enum(
        ("scope", "loopback"),
        "scope",
        help="""Who may read control's ``/services/himalia/metrics``. ``scope``: bearers of a token
        with the scope ``read:metrics``. ``loopback``: besides, whoever asks control directly from
        this machine and not through the proxy. There are no names of users in them.""",
    ).tag(config=True)

    on_user_deleted = Enum(
        ("delete", "transfer"),
        "delete",
        help="""What becomes of the workloads of a user whom the hub knows no more: ``delete``
        them, or ``transfer`` them to ``heir``.""",
    ).tag(config=True)

    heir = Unicode(
        "",
        help="""Name of the user who gets the workloads of deleted ones, with
        ``on_user_deleted = "transfer"``.""",
    ).tag(config=True)

    config_file = Unicode(
        "",
        help="""The configuration that control reads. Empty: the file that calls
        ``configure(c)``.""",
    ).tag(config=True)

    @default("max_running")
    def _default_max_running(self) -> int:
        return max(2, os.cpu_count() or 2) if self.is_machine else 500

    @default("state")
    def _default_state(self) -> str:
        if os.geteuid() == 0:
            return "/var/lib/himalia"
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return str(Path(data) / "himalia-hub")

    @default("python")
    def _default_python(self) -> str:
        return sys.executable

    @validate("state", "python")
    def _absolute(self, proposal: dict[str, str]) -> str:
        # Not resolved: the `python` of an environment is a link to the one it was made from.
        return os.path.abspath(os.path.expanduser(proposal["value"]))  # noqa: PTH100, PTH111

    @validate("store_url")
    def _known_database(self, proposal: dict[str, str]) -> str:
        url = proposal["value"]
        if url and not url.startswith(POSTGRESQL):
            # Without the address: it may have a password in it.
            raise ValueError("Himalia.store_url must be postgresql://user:password@host/name.")
        return url

    @property
    def is_machine(self) -> bool:
        """Whether servers and jobs are processes of the hub's own machine."""
        return bool(self.platform == "machine")

    @property
    def is_root(self) -> bool:
        """Whether servers can run under accounts of their own."""
        return os.geteuid() == 0

    @property
    def folder(self) -> Path:
        """The state folder, which may not be there yet."""
        return Path(self.state)
