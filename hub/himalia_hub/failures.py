"""Why a server did not start, in words that its user can act on."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

from tornado import web

from himalia.agents.account import Account
from himalia_hub.keep import said

LOG_FOLDER = ".local/state/himalia"
"""Below the user's home."""
_TAIL_BYTES = 4000
_LINES = 8
_READ_SECONDS = 5.0

_ADMIN = "Please tell whoever looks after this hub."
_KNOWN = (
    (
        re.compile(r"No space left on device|Disk quota exceeded"),
        ("There is no space left for your files, so your server could not start. Free some (an "
        "admin can help while no server runs), and start it again."),
    ),
    (
        re.compile(r"No module named '?(jupyterhub|himalia|himalia_hub|jupyterlab)\b"),
        "The environment that servers run in ({python}) lacks a part of Himalia. " + _ADMIN
        + " Next step for them: install himalia with its extra hub there, or set c.Himalia.python.",
    ),
    (
        re.compile(r"Address already in use|port .* is already in use", re.IGNORECASE),
        "Another program took the port that was meant for your server. Start it again.",
    ),
    (
        re.compile(r"MemoryError|Cannot allocate memory"),
        ("The machine has too little memory left to start your server. Try again later, or ask "
        "whoever looks after this hub."),
    ),
    (
        re.compile(r"PermissionError|Permission denied"),
        "Your server may not read or write a file that it needs; the log below names it. If it is "
        "in your home, see who owns it. Otherwise: " + _ADMIN,
    ),
)  # fmt: skip


class NotStarted(web.HTTPError):
    """A server that did not start; the page that waits for it shows the text."""

    def __init__(self, text: str) -> None:
        first, _, rest = text.partition("\n")
        shown = f"<p>{html.escape(first)}</p>"
        if rest:
            shown += f'<pre class="text-start">{html.escape(rest.strip())}</pre>'
        # The rest was said by the user's own processes, and has no place in the hub's log.
        super().__init__(500, log_message=first.replace("%", "%%"))
        self.jupyterhub_message = text
        self.jupyterhub_html_message = shown


def explain(why: OSError | KeyError | int, *, python: str, log: str = "", name: str = "") -> str:
    """Say why a server did not start, and what to do; the end of its log follows."""
    if isinstance(why, PermissionError):
        return (
            f"The Python that servers run in ({python}) may not be executed by your account. "
            f"{_ADMIN} Next step for them: see that every folder above it may be entered by "
            "others, or set c.Himalia.python to one outside of anybody's home."
        )
    if isinstance(why, FileNotFoundError):
        return (
            f"The Python that servers run in ({python}) or your home folder is not there. "
            f"{_ADMIN} Next step for them: set c.Himalia.python."
        )
    if isinstance(why, OSError | KeyError):
        return f"Your server could not be started: {why}. {_ADMIN}"
    return ended(said(why), python=python, log=log, rest=f"~/{LOG_FOLDER}/{log_name(name)}")


def ended(how: str, *, python: str, log: str, rest: str = "") -> str:
    """Say that a server ended while it started; the end of its log follows, `rest` has it all."""
    lines = "\n".join(log.strip().splitlines()[-_LINES:])
    for pattern, text in _KNOWN:
        if pattern.search(log):
            return f"{text.format(python=python)}\n{lines}"
    below = f"is below; all of it is in {rest}" if rest else "is below"
    return (
        f"Your server ended while it started ({how}). The end of its log {below}. Start it again, "
        f"or show this to whoever looks after this hub.\n{lines}"
    )


def log_name(server: str) -> str:
    """Name the log of a server, which may have any name."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", server)[:60]
    return f"server-{readable}.log" if readable else "server.log"


def tail(account: Account, server: str) -> str:
    """Read the end of a server's log as its user would: what the file leads to is theirs."""
    path = Path(account.home) / LOG_FOLDER / log_name(server)
    command = ["tail", "-c", str(_TAIL_BYTES), "--", str(path)]
    try:
        done = subprocess.run(  # noqa: S603 - fixed words and our own path
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else [],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_READ_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")
