"""One e-mail about an ended run, in plain text."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import ValidationError

from himalia.core.errors import InvalidInput
from himalia.core.model import Run
from himalia.core.webhook import NotDelivered, Undeliverable
from himalia.store.base import Message

_SUBJECT_LENGTH = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where e-mails are handed in."""

    host: str
    port: int
    uses_tls: bool
    """From the start; otherwise TLS is asked for where the server offers it."""
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of_url(cls, url: str) -> MailServer:
        """Read ``smtp://user:password@host:port?from=address`` (or ``smtps:``).

        :raises InvalidInput: it is not such a URL; the text does not repeat it.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidInput.of("smtp_url", "the port is not a number") from error
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise InvalidInput.of("smtp_url", "write smtp://user:password@host:port?from=address")
        user = unquote(parts.username) if parts.username else None
        given = parse_qs(parts.query).get("from", [user if user and "@" in user else ""])[0]
        return cls(
            host=parts.hostname,
            port=port or (465 if parts.scheme == "smtps" else 587),
            uses_tls=parts.scheme == "smtps",
            sender=given or f"himalia@{parts.hostname}",
            user=user,
            password=unquote(parts.password) if parts.password else None,
        )


def compose(message: Message, sender: str) -> EmailMessage:
    """Write the e-mail that `message` asks for.

    :raises Undeliverable: the address cannot be written into a header.
    """
    try:
        run = Run.model_validate(message.body.get("run"))
        mail = EmailMessage(policy=SMTP)
        mail["To"] = Address(addr_spec=message.email or "")
        mail["From"] = Address(display_name="Himalia", addr_spec=sender)
        mail["Subject"] = _line(f"{run.workload_name}: {run.status.value}")[:_SUBJECT_LENGTH]
        mail["Message-ID"] = f"<{message.id}@himalia.invalid>"
        mail["Auto-Submitted"] = "auto-generated"
    except (MessageError, ValidationError, ValueError, IndexError) as error:
        raise Undeliverable("it cannot be written as an e-mail") from error
    mail.set_content(_text(run))
    return mail


def hand_in(mail: EmailMessage, server: MailServer, *, timeout_seconds: float) -> None:
    """Hand `mail` to the server. Blocks.

    :raises Undeliverable: the server refuses it for good.
    :raises NotDelivered: not this time.
    """
    try:
        with _connect(server, timeout_seconds) as smtp:
            if server.user is not None:
                smtp.login(server.user, server.password or "")
            smtp.send_message(mail)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        if all(code >= 500 for code in codes):
            raise Undeliverable("the mail server refuses the address") from error
        raise NotDelivered("the mail server refuses the address for now") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Undeliverable("the mail server cannot carry it") from error
    except smtplib.SMTPResponseException as error:
        # The server's text may repeat what was sent to it, a password included.
        raise NotDelivered(f"the mail server answered {error.smtp_code}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise NotDelivered(f"no mail server: {type(error).__name__}") from error


def _connect(server: MailServer, timeout_seconds: float) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.uses_tls:
        return smtplib.SMTP_SSL(server.host, server.port, timeout=timeout_seconds, context=context)
    smtp = smtplib.SMTP(server.host, server.port, timeout=timeout_seconds)
    try:
        smtp.ehlo()
        if smtp.has_extn("starttls"):
            smtp.starttls(context=context)
            smtp.ehlo()
        elif server.user is not None:
            _refuse_plain_password(server)
    except BaseException:
        smtp.close()
        raise
    return smtp


def _refuse_plain_password(server: MailServer) -> None:
    if server.host not in {"localhost", "127.0.0.1", "::1"}:
        raise smtplib.SMTPNotSupportedError("no TLS, and a password to send")


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _text(run: Run) -> str:
    lines = [f"{_line(run.workload_name)}: {run.status.value}", ""]
    if run.reason is not None:
        lines += [run.reason.message, run.reason.next_step, ""]
    lines += [f"Run:     {run.id}", f"Attempt: {run.attempt}"]
    if run.started_at is not None:
        lines.append(f"Started: {run.started_at:%Y-%m-%d %H:%M:%S} UTC")
    if run.ended_at is not None:
        lines.append(f"Ended:   {run.ended_at:%Y-%m-%d %H:%M:%S} UTC")
    return "\n".join(lines) + "\n"
