"""Small answers of services of ours that serve no route of the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tornado import web
from typing_extensions import override

from himalia.core.errors import HimaliaError
from himalia.handlers.base import encode_error


class PlainHandler(web.RequestHandler):
    """A small answer that tells nothing of anybody."""

    @override
    def set_default_headers(self) -> None:
        self.set_header("Server", "Himalia")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    def say(self, status: int, content: Mapping[str, Any]) -> None:
        """Send JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content))

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = (kwargs.get("exc_info") or (None, None))[1]
        if not isinstance(error, HimaliaError):
            self.say(status_code, {"error": {"code": "internal", "message": "", "details": []}})
            return
        self.set_status(error.http_status)
        self.set_header("Content-Type", "application/json")
        self.finish(encode_error(error))

    @override
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if not isinstance(value, HimaliaError):
            super().log_exception(typ, value, tb)
