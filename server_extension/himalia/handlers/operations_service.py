"""Operations on the service as a whole."""

from __future__ import annotations

from himalia.core.answers import EnvironmentList, ProfileList
from himalia.core.model import ServiceStatus
from himalia.handlers.calls import Call
from himalia.handlers.parameters import NoParameters


async def get_status(call: Call[NoParameters, NoParameters]) -> ServiceStatus:
    """Return how the service is doing."""
    return await call.service.status(call.caller)


async def list_environments(call: Call[NoParameters, NoParameters]) -> EnvironmentList:
    """Return where notebooks can run."""
    return EnvironmentList(items=await call.service.environments(call.caller))


async def list_profiles(call: Call[NoParameters, NoParameters]) -> ProfileList:
    """Return what a run may be given."""
    return ProfileList(items=await call.service.profiles(call.caller))
