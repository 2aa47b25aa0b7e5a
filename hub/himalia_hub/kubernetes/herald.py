"""What an admin told everybody, brought from control to the pages of a hub in another pod."""

from __future__ import annotations

import asyncio
import logging

import httpx

from himalia.core.team import Notice
from himalia_hub.banner import announce
from himalia_hub.kubernetes.inner_tls import client_of
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.roles import SERVICE
from himalia_hub.state import State

_LOOK_SECONDS = 3.0
_TIMEOUT = httpx.Timeout(5.0)
_log = logging.getLogger(__name__)


async def follow(settings: Kubernetes, state: State) -> None:
    """Ask control again and again; while it does not answer, what it said last stands."""
    url = f"{settings.control_parts_url.rstrip('/')}/services/{SERVICE}/parts/notice"
    token = state.secret("control-token")
    said: Notice | None = None
    async with httpx.AsyncClient(
        headers={"Authorization": f"Bearer {token}"},
        timeout=_TIMEOUT,
        trust_env=False,
        verify=client_of(settings) or True,
    ) as client:
        while True:
            try:
                answer = (await client.get(url)).raise_for_status()
                notice = Notice.model_validate_json(answer.content)
                if notice != said:
                    await asyncio.to_thread(announce, state, notice)
                    said = notice
            except (httpx.HTTPError, ValueError, OSError) as error:
                _log.debug("control does not say what everybody is told: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)
