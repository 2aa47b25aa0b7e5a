"""What JupyterHub says of its users, without what would stand for them."""

from __future__ import annotations

import logging
import re

from tornado.httputil import HTTPServerRequest
from typing_extensions import override

_LONGEST = 4096
"""Characters of one value: whoever knocks at the door may have any name, of any length."""
_CODES = "oauthlib.oauth2.rfc6749.grant_types.authorization_code"
_IN_ADDRESS = re.compile(r"([?&](?:token|access_token|code|state|password|next)=)[^&\s)'\"]+")
"""Tornado names the whole address of what it refuses. `next` may have an address in it."""
_IN_MANIFEST = re.compile(
    r"('name': '[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|KEY)[A-Z0-9_]*',\s*'value': )'[^']*'"
)
"""KubeSpawner shows the whole pod that could not be made."""


class Discretion(logging.Filter):
    """Hides secrets of addresses and the id of a browser's session, and shortens what is long."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if not _is_written(record):
            return False
        if isinstance(record.args, tuple):
            if record.module == "_xsrf_utils":
                record.args = tuple("[…]" if isinstance(a, bytes) else a for a in record.args)
            record.args = tuple(_discreet(argument) for argument in record.args)
        if not record.args:
            # JupyterHub's lines of requests come as they will stand.
            record.msg = _discreet(record.msg)
        return True


def _is_written(record: logging.LogRecord) -> bool:
    """Tell whether anything takes a record: JupyterHub leaves levels to what writes them, and makes
    a dozen records of each request that nobody reads.
    """
    logger: logging.Logger | None = logging.getLogger(record.name)
    has_writers = False
    while logger is not None:
        if any(record.levelno >= handler.level for handler in logger.handlers):
            return True
        has_writers = has_writers or bool(logger.handlers)
        logger = logger.parent if logger.propagate else None
    # Where there are none at all, Python has one of its own.
    return not has_writers


def keep() -> None:
    """Let JupyterHub's loggers be discreet. May be called again."""
    for name in ("tornado.application", "tornado.general", "tornado.access", "JupyterHub"):
        logger = logging.getLogger(name)
        if not any(isinstance(one, Discretion) for one in logger.filters):
            logger.addFilter(Discretion())
    # At its most talkative, this tells every code that it makes.
    logging.getLogger(_CODES).setLevel(logging.INFO)


def _discreet(argument: object) -> object:
    if isinstance(argument, HTTPServerRequest):
        argument = repr(argument)
    if isinstance(argument, str) and "=" in argument:
        argument = _IN_ADDRESS.sub(r"\1[secret]", argument)
    if isinstance(argument, str) and "'value': " in argument:
        argument = _IN_MANIFEST.sub(r"\1'[secret]'", argument)
    if isinstance(argument, str | bytes) and len(argument) > _LONGEST:
        return f"{argument[:_LONGEST]!r}… ({len(argument)} in all)"
    return argument
