"""One webhook: signed, sent to a checked address only, and never redirected."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import JsonValue

from himalia.core.errors import HimaliaError

_SAFE = "/%:@!$&'()*+,;=~-._?"
_TRY_AGAIN = frozenset({408, 425, 429})
# Cloud metadata services answer at these besides the link-local range.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Undeliverable(HimaliaError):
    """The message can never be delivered; another try would not help."""

    code = "undeliverable"
    http_status = 502


class NotDelivered(HimaliaError):
    """The message was not delivered this time."""

    code = "not_delivered"
    http_status = 502


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where to post what."""

    url: str = field(repr=False)
    """May hold a secret in its path, so it is never logged."""
    secret: str | None = field(repr=False)
    message_id: str
    body: dict[str, JsonValue] = field(repr=False)


def signature(secret: str, body: bytes, at: datetime) -> str:
    """Return the value of ``Himalia-Signature``: HMAC-SHA-256 of the time, a dot and the body."""
    stamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def is_allowed(address: Address) -> bool:
    """Tell whether a webhook may go to `address`: not to a link-local or metadata service."""
    mapped = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if mapped is not None:
        return is_allowed(mapped)
    return not (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _METADATA
    )


async def post(webhook: Webhook, *, now: datetime, timeout_seconds: float) -> None:
    """Post the webhook once. A redirect is an answer like any other: nobody follows it.

    :raises Undeliverable: it was refused, redirected, or its address is not allowed.
    :raises NotDelivered: nobody answered, or the answer was that of a passing trouble.
    """
    # Imported late: a control without webhooks never needs it. And not httpx, which logs the whole
    # URL of each request, while webhooks' URLs hold secrets.
    import httpcore  # noqa: PLC0415

    trouble = (TimeoutError, OSError, httpcore.NetworkError, httpcore.ProtocolError)
    try:
        target = _Target.of(webhook.url)
        async with asyncio.timeout(timeout_seconds):
            # The name is resolved once, checked, and that very address is connected to.
            address = await _resolve(target.host, target.port)
            context = await asyncio.to_thread(ssl.create_default_context)
            async with (
                httpcore.AsyncConnectionPool(ssl_context=context) as pool,
                pool.stream(
                    "POST",
                    httpcore.URL(
                        scheme=target.scheme,
                        host=str(address),
                        port=target.port,
                        target=target.path,
                    ),
                    **_request(webhook, target, now),
                ) as response,
            ):
                _check_status(response.status)
    except trouble as error:
        raise NotDelivered(f"no answer: {type(error).__name__}") from error
    except ValueError as error:
        raise Undeliverable("its address is not valid") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str
    shown_host: str
    login: str | None

    @classmethod
    def of(cls, url: str) -> _Target:
        parts = urlsplit(url)
        host = parts.hostname.encode("idna").decode() if parts.hostname else ""
        if not host or parts.scheme not in {"http", "https"}:
            raise ValueError(parts.scheme)
        default = 443 if parts.scheme == "https" else 80
        port = parts.port or default
        bracketed = f"[{host}]" if ":" in host else host
        path = quote(parts.path or "/", safe=_SAFE)
        login = None
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(
            scheme=parts.scheme,
            host=host,
            port=port,
            path=f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path,
            shown_host=bracketed if port == default else f"{bracketed}:{port}",
            login=login,
        )


def _request(webhook: Webhook, target: _Target, now: datetime) -> dict[str, Any]:
    body = json.dumps(webhook.body, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [
        ("Host", target.shown_host),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        ("User-Agent", "Himalia"),
        ("Himalia-Message", webhook.message_id),
    ]
    if webhook.secret is not None:
        headers.append(("Himalia-Signature", signature(webhook.secret, body, now)))
    if target.login is not None:
        login = base64.b64encode(target.login.encode()).decode()
        headers.append(("Authorization", f"Basic {login}"))
    return {
        "headers": headers,
        "content": body,
        "extensions": {"sni_hostname": target.host},
    }


async def _resolve(host: str, port: int) -> Address:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not addresses or not all(is_allowed(address) for address in addresses):
        raise Undeliverable("its address is not one that webhooks may go to")
    return addresses[0]


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    if status >= 500 or status in _TRY_AGAIN:
        raise NotDelivered(f"the receiver answered {status}")
    raise Undeliverable(f"the receiver answered {status}")
