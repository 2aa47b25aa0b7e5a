"""What every handler does: decode, call the operation, send what it gave, shape errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, cast

from tornado import httputil, iostream, web
from tornado.log import app_log

from himalia.core import errors
from himalia.core.answers import ErrorAnswer, ErrorBody, ErrorDetail
from himalia.core.errors import HimaliaError
from himalia.core.service import Caller, WorkloadService
from himalia.handlers.calls import AdminCall, Call, Events, File, Table
from himalia.handlers.decoding import decode_body, decode_header, decode_query
from himalia.handlers.downloads import file_headers
from himalia.handlers.parameters import NoParameters
from himalia.handlers.routes import Route
from himalia.handlers.streams import Streams, follow

JSON = "application/json"
_TRY_AGAIN_SECONDS = 2
_BY_STATUS: dict[int, type[HimaliaError]] = {
    error.http_status: error for error in errors.EVERY_ERROR
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What the handlers of one server share."""

    service: Callable[[], WorkloadService]
    """Gives the service; called at each request, so that it may be made at the first."""
    document: Callable[[], bytes]
    """The OpenAPI document, made when it is first asked for."""
    streams: Streams = field(default_factory=Streams)
    asking: Callable[[], AbstractContextManager[None]] = nullcontext
    """Entered for as long as a request is being answered."""


class ApiHandler(web.RequestHandler):
    """Serves the routes of one address; servers add who is asking."""

    api: Api
    _gone: asyncio.Event

    def initialize(self, api: Api) -> None:
        """Take what the handlers share."""
        self.api = api
        self._gone = asyncio.Event()

    def caller(self) -> Caller:
        """Say who asks."""
        raise NotImplementedError

    def call(self, route: Route, **asked: Any) -> Call[Any, Any] | AdminCall[Any, Any]:  # noqa: ARG002
        """Make what the route's operation takes; servers add routes that take another."""
        return Call(service=self.api.service(), caller=self.caller(), **asked)

    def query(self) -> Mapping[str, Sequence[bytes]]:
        """Return the query's parameters, without those that mean something to the server."""
        return self.request.query_arguments

    def end(self, content: bytes, media_type: str) -> None:
        """Send `content` and be done."""
        self.set_header("Content-Type", media_type)
        self.finish(content)

    async def serve(self, route: Route, path: Mapping[str, str]) -> None:
        """Answer one request to `route`."""
        with self.api.asking():
            await self._serve(route, path)

    async def _serve(self, route: Route, path: Mapping[str, str]) -> None:
        headers = self.request.headers
        query = decode_query(self.query(), route.query)
        body = decode_body(self.request.body, route.body or NoParameters)
        key, last = headers.get("Idempotency-Key"), headers.get("Last-Event-ID")
        call = self.call(
            route,
            query=query,
            body=body,
            path=path,
            idempotency_key=decode_header("Idempotency-Key", key) if route.takes_key else None,
            last_event_id=decode_header("Last-Event-ID", last or None),
        )
        answer = await route.operation(call)
        self.set_header("Cache-Control", "no-store")
        match answer:
            case Events():
                with self.api.streams.take(call.asker):
                    await self._send_events(answer)
            case File():
                await self._send_file(answer)
            case Table():
                await self._send_table(answer)
            case None:
                self.set_status(route.success)
                await self.finish()
            case _:
                self.set_status(route.success)
                self.end(answer.model_dump_json().encode(), JSON)

    def serve_document(self) -> None:
        """Answer with the OpenAPI document."""
        decode_query(self.query(), NoParameters)
        self.end(self.api.document(), JSON)

    async def _send_events(self, answer: Events) -> None:
        async with aclosing(follow(answer.events, self._gone, answer.keep_alive_seconds)) as parts:
            async for part in parts:
                if not self._headers_written:
                    # Only now it is known that there is something to follow.
                    self.set_header("Content-Type", "text/event-stream")
                    self.set_header("X-Accel-Buffering", "no")
                self.write(part)
                if not await self._sent():
                    return
        # Who has read the end may go before we say that it was the end.
        with suppress(iostream.StreamClosedError):
            await self.finish()

    async def _send_file(self, answer: File) -> None:
        chunks = answer.opened.chunks
        try:
            async for chunk in chunks:
                if not self._headers_written:
                    self._set_file_headers(answer)
                self.write(chunk)
                if not await self._sent():
                    return
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        if not self._headers_written:
            self._set_file_headers(answer)
        self.end(b"", self._headers["Content-Type"])

    async def _send_table(self, answer: Table) -> None:
        async with aclosing(cast("AsyncGenerator[bytes]", answer.chunks)) as chunks:
            async for chunk in chunks:
                if not self._headers_written:
                    self.set_header("Content-Type", "text/csv; charset=utf-8")
                    self.set_header("X-Content-Type-Options", "nosniff")
                    self.set_header("Content-Disposition", f'attachment; filename="{answer.name}"')
                self.write(chunk)
                if not await self._sent():
                    return
        with suppress(iostream.StreamClosedError):
            await self.finish()

    def _set_file_headers(self, answer: File) -> None:
        for name, value in file_headers(answer.opened.output, download=answer.download).items():
            self.set_header(name, value)

    async def _sent(self) -> bool:
        """Wait until the client took what was written; False when it has gone."""
        try:
            await self.flush()
        except iostream.StreamClosedError:
            return False
        return True

    def on_connection_close(self) -> None:
        """Let streams end."""
        self._gone.set()

    def compute_etag(self) -> str | None:
        """Answers are not cached; hashing them would be for nothing."""
        return None

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send every error in the one shape."""
        found = kwargs.get("exc_info")
        error = _to_show(status_code, found[1] if found else None)
        status = error.http_status if type(error) is not HimaliaError else status_code
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        if isinstance(error, errors.TooMany | errors.Unavailable):
            self.set_header("Retry-After", str(_TRY_AGAIN_SECONDS))
        self.end(encode_error(error), JSON)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is not the client's doing, in full."""
        if isinstance(value, HimaliaError) and value.http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
            app_log.debug("%s %s: %s", self.request.method, self.request.path, value.code)
        elif isinstance(value, HimaliaError):
            app_log.warning("%s %s: %s", self.request.method, self.request.path, value.message)
        elif isinstance(value, web.HTTPError):
            app_log.info("%s %s: %s", self.request.method, self.request.path, value.status_code)
        else:
            app_log.error(
                "%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb)
            )


def encode_error(error: HimaliaError) -> bytes:
    """Write an error as it is sent."""
    details = tuple(
        ErrorDetail(field=problem.field, message=problem.message) for problem in error.problems
    )
    body = ErrorBody(code=error.code, message=error.message, details=details)
    return ErrorAnswer(error=body).model_dump_json().encode()


def _to_show(status: int, found: BaseException | None) -> HimaliaError:
    """Say in our words what was raised, telling nothing that is not meant for the client."""
    if isinstance(found, HimaliaError):
        return found
    if isinstance(found, web.HTTPError | httputil.HTTPInputError):
        status = getattr(found, "status_code", HTTPStatus.BAD_REQUEST)
    cause = _BY_STATUS.get(status)
    if cause is None and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        cause = errors.InvalidInput
    if cause is None:
        return HimaliaError("Something went wrong inside Himalia; its log has the details.")
    said = getattr(found, "log_message", None)
    text = said if said and not getattr(found, "args", ()) else HTTPStatus(status).phrase
    return cause(text)


def addresses(routes: Sequence[Route]) -> dict[str, tuple[Route, ...]]:
    """Group the routes by path, in an order in which the first match is the right one."""
    paths = sorted({route.path for route in routes}, key=lambda path: ("{" in path, path))
    return {path: tuple(route for route in routes if route.path == path) for path in paths}


def pattern(path: str) -> str:
    """Turn a route's path into a regular expression; only an output's name has slashes."""
    return path.replace("{name}", "(?P<name>.+)").replace("{", "(?P<").replace("}", ">[^/]+)")


def document_of(make: Callable[[], dict[str, Any]]) -> Callable[[], bytes]:
    """Make the document once, when it is first asked for."""

    @cache
    def made() -> bytes:
        return json.dumps(make()).encode()

    return made
