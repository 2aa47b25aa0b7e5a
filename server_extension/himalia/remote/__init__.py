"""The service over HTTP: what sessions, the command line and Python users talk to."""

from __future__ import annotations

from himalia.remote.service import RemoteService

__all__ = ["RemoteService"]
