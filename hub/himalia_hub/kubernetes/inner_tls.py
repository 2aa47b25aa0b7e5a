"""TLS between the parts of a hub in a cluster: each shows a certificate, and takes no other's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from himalia.core.errors import Unavailable
from himalia_hub.kubernetes.settings import Kubernetes


class _Context(ssl.SSLContext):
    """One that a configuration may hold: traitlets copies all that is in one."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class InnerTls:
    """What one part has: its key and certificate, and the authority of all of them."""

    folder: Path

    def server(self) -> ssl.SSLContext:
        """Return what to listen with: whoever comes shows a certificate (:raises Unavailable:)."""
        made = self._context(ssl.PROTOCOL_TLS_SERVER)
        made.verify_mode = ssl.CERT_REQUIRED
        return made

    def client(self) -> ssl.SSLContext:
        """Return what to ask others with; they are who they say (:raises Unavailable:)."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def files(self) -> dict[str, str]:
        """Return what JupyterHub's own library for services takes."""
        return {
            "keyfile": str(self.folder / "tls.key"),
            "certfile": str(self.folder / "tls.crt"),
            "client_ca": str(self.folder / "ca.crt"),
        }

    def _context(self, side: int) -> ssl.SSLContext:
        made = _Context(side)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Of nobody but our own authority.
            made.load_verify_locations(self.folder / "ca.crt")
            made.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        except OSError as error:
            raise Unavailable(f"Certificates in {self.folder} cannot be used: {error}") from error
        return made


def inner_tls(settings: Kubernetes) -> InnerTls | None:
    """Return what this part has, or None where parts speak without."""
    return InnerTls(Path(settings.tls_folder)) if settings.tls_folder else None


def client_of(settings: Kubernetes) -> ssl.SSLContext | None:
    """Return what to ask other parts with, or None where they speak without."""
    found = inner_tls(settings)
    return found.client() if found is not None else None
