"""Telling control what was found, for the admin page."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from himalia.core.errors import Unavailable
from himalia.core.team import IsolationFinding, IsolationReport
from himalia_hub.isolation.check import Verdict
from himalia_hub.isolation.places import TITLES
from himalia_hub.kubernetes.inner_tls import client_of
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.roles import SERVICE

_TIMEOUT = httpx.Timeout(30.0)


def report_of(verdicts: Sequence[Verdict]) -> IsolationReport:
    """Return what was found as control takes it."""
    return IsolationReport(
        findings=tuple(
            IsolationFinding(
                name=verdict.name,
                title=TITLES.get(verdict.name, verdict.name),
                is_open=verdict.is_open,
                is_right=verdict.is_right,
            )
            for verdict in verdicts
        )
    )


async def tell(settings: Kubernetes, token: str, report: IsolationReport) -> None:
    """Have control keep a report (:raises Unavailable: it does not)."""
    url = f"{settings.control_parts_url.rstrip('/')}/services/{SERVICE}/parts/isolation"
    try:
        async with httpx.AsyncClient(
            timeout=_TIMEOUT, trust_env=False, verify=client_of(settings) or True
        ) as client:
            answer = await client.put(
                url,
                content=report.model_dump_json(),
                headers={"Authorization": f"Bearer {token}"},
            )
            answer.raise_for_status()
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable(f"Control does not take what was found: {error}") from error
