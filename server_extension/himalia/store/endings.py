"""What is stored together with the end of a run: the messages about it."""

from __future__ import annotations

import json
from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import Connection, insert, select

from himalia.core.model import Run, Status
from himalia.core.names import new_id
from himalia.core.spec import Condition, Notification
from himalia.store.rows import Values, to_json, to_micros
from himalia.store.tables import messages, workloads

_MET = {
    Status.SUCCEEDED: {Condition.SUCCESS, Condition.END},
    Status.FAILED: {Condition.FAILURE, Condition.END},
    Status.STOPPED: {Condition.END},
    Status.SKIPPED: {Condition.END},
}


def store_messages(connection: Connection, run: Run, now: datetime) -> None:
    """Store the messages that the workload of a run that has just ended asks for."""
    spec = connection.scalar(select(workloads.c.spec).where(workloads.c.id == run.workload_id))
    asked = json.loads(spec).get("notify", ()) if spec is not None else ()
    met = _MET[run.status]
    body: dict[str, JsonValue] = {"event": "run.ended", "run": run.model_dump(mode="json")}
    rows = [
        row
        for notification in map(Notification.model_validate, asked)
        if met & set(notification.on)
        for row in _ways(notification, run, to_json(body), to_micros(now))
    ]
    if rows:
        connection.execute(insert(messages), rows)


def _ways(notification: Notification, run: Run, body: str, now: int) -> list[Values]:
    # Each way is a message of its own: where one fails, the other is not sent twice.
    base: Values = {
        "run_id": run.id,
        "owner": run.owner,
        "body": body,
        "webhook": None,
        "secret": None,
        "email": None,
        "tries": 0,
        "not_before": now,
    }
    rows: list[Values] = []
    if notification.webhook is not None:
        way = {"webhook": notification.webhook, "secret": notification.secret}
        rows.append({**base, **way, "id": new_id("msg")})
    if notification.email is not None:
        rows.append({**base, "email": notification.email, "id": new_id("msg")})
    return rows
