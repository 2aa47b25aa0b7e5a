"""The messenger: tells of ended runs by webhook and e-mail, at least once, with bounded tries.

A try is counted before it is made, so a message that brings the process down is not tried for
ever. A message keeps its id, so whoever gets it twice can tell.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from himalia.core.errors import Unavailable
from himalia.core.loop import Lead, Loop, alone
from himalia.core.mail import MailServer, compose, hand_in
from himalia.core.reconciler import utc_now
from himalia.core.webhook import NotDelivered, Undeliverable, Webhook, post
from himalia.store.base import Message, Store

_log = logging.getLogger(__name__)

_AT_ONCE = 10
_LONGEST_SLEEP = 30.0
_LONGEST_DELAY = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MessengerSettings:
    """How messages are sent."""

    smtp_url: str | None = field(default=None, repr=False)
    """``smtp://user:password@host:port?from=address``, or ``smtps:`` for TLS from the start."""
    max_tries: int = 8
    first_delay_seconds: float = 20.0
    """Before the second try; each later delay is three times the one before, up to an hour."""
    timeout_seconds: float = 10.0
    clock: Callable[[], datetime] = utc_now


class Messenger:
    """Sends the messages that wait in the store.

    :raises InvalidInput: when it is made, for a ``smtp_url`` that is not one.
    """

    def __init__(self, *, store: Store, settings: MessengerSettings, lead: Lead = alone) -> None:
        self._store = store
        self._settings = settings
        self._server = MailServer.of_url(settings.smtp_url) if settings.smtp_url else None
        self._due_mono: list[float] = []
        self.loop = Loop("send messages", self.send, lead)
        """Runs while the store is open; woken when there are messages."""

    async def send(self) -> float:
        """Send what is due, and return the seconds until there may be more."""
        due = await self._store.messages.due(self._settings.clock(), _AT_ONCE)
        if due:
            await asyncio.gather(*(self._guarded(message) for message in due))
            return 0.0
        now = time.monotonic()
        self._due_mono = [at for at in self._due_mono if at > now]
        return min([_LONGEST_SLEEP, *(at - now + 0.001 for at in self._due_mono)])

    async def _guarded(self, message: Message) -> None:
        delay = min(self._settings.first_delay_seconds * 3.0**message.tries, _LONGEST_DELAY)
        await self._store.messages.retry(
            message.id, self._settings.clock() + timedelta(seconds=delay)
        )
        try:
            await self._deliver(message)
        except NotDelivered as error:
            if message.tries + 1 < self._settings.max_tries:
                _log.info("message %s of %s: %s", message.id, message.run_id, error.message)
                self._due_mono.append(time.monotonic() + delay)
                return
            _log.warning("message %s given up: %s", message.id, error.message)
        except Undeliverable as error:
            _log.warning("message %s cannot be delivered: %s", message.id, error.message)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a traceback could show a secret
            _log.error("message %s given up: %s", message.id, type(error).__name__)
        await self._store.messages.sent(message.id)

    async def _deliver(self, message: Message) -> None:
        timeout = self._settings.timeout_seconds
        if message.webhook is not None:
            webhook = Webhook(
                url=message.webhook,
                secret=message.secret,
                message_id=message.id,
                body=message.body,
            )
            await post(webhook, now=self._settings.clock(), timeout_seconds=timeout)
        elif self._server is None:
            raise Undeliverable("no mail server is set: give `smtp_url` in control's settings.toml")
        else:
            mail = compose(message, self._server.sender)
            await asyncio.to_thread(hand_in, mail, self._server, timeout_seconds=timeout)
