"""The table of what admins may ask a team's control for; its operations take an `AdminCall`."""

from __future__ import annotations

from functools import partial

from himalia.core.errors import Conflict
from himalia.core.model import Run
from himalia.core.team import Isolation, Notice, Overview, Quota, Transfer
from himalia.handlers import operations_admin as admin
from himalia.handlers import operations_rules as rules
from himalia.handlers.admin_parameters import (
    AuditPage,
    AuditParameters,
    AuditTableParameters,
    Changed,
    EveryRunPage,
    EveryRunParameters,
    EveryWorkloadPage,
    EveryWorkloadParameters,
    Moved,
    NoticePatch,
    OrphanList,
    PersonPage,
    PersonParameters,
    QuotaList,
    QuotaParameters,
    Rights,
    TotalList,
    TotalParameters,
)
from himalia.handlers.parameters import TimeParameters
from himalia.handlers.routes import Route

RESOURCE = "himalia:admin"
_Route = partial(Route, resource=RESOURCE)
_PERSON = "admin/people/{owner}"


def admin_table() -> tuple[Route, ...]:
    """Return every route of administration."""
    return (*_VIEWS, *_ACTS, *_RULES, *_PAST)


_VIEWS = (
    _Route(method="GET", path="admin/rights", name="getAdminRights", answer=Rights,
           summary="Show whom the caller administers", operation=admin.get_rights),
    _Route(method="GET", path="admin/overview", name="getOverview", answer=Overview,
           summary="Show how much there is of everything", operation=admin.get_overview),
    _Route(method="GET", path="admin/isolation", name="getIsolation", answer=Isolation,
           summary="Show whether users were found apart from each other and from the cluster",
           operation=admin.get_isolation),
    _Route(method="GET", path="admin/people", name="listPeople", operation=admin.list_people,
           summary="List people, with their servers and what they run",
           query=PersonParameters, answer=PersonPage),
    _Route(method="GET", path="admin/runs", name="listEveryRun", operation=admin.list_runs,
           summary="List everybody's runs", query=EveryRunParameters, answer=EveryRunPage),
    _Route(method="GET", path="admin/workloads", name="listEveryWorkload",
           summary="List everybody's workloads", operation=admin.list_workloads,
           query=EveryWorkloadParameters, answer=EveryWorkloadPage),
    _Route(method="GET", path="admin/orphans", name="listOrphans", answer=OrphanList,
           summary="Find what runs and nobody owns, and what is owned and gone",
           operation=admin.list_orphans),
    _Route(method="GET", path="admin/events", name="streamChanges", answer=Changed,
           summary="Be told by server-sent events when what the lists show may have changed",
           operation=admin.stream_changes, sends="events"),
)  # fmt: skip

_ACTS = (
    _Route(method="POST", path="admin/runs/{run_id}/stop", name="stopEveryRun", answer=Run,
           summary="Ask anybody's run to stop", operation=admin.stop_run, success=202),
    _Route(method="DELETE", path="admin/runs/{run_id}", name="deleteEveryRun", success=204,
           summary="Delete anybody's ended run with its files", operation=admin.delete_run,
           raises=(Conflict,)),
    _Route(method="DELETE", path="admin/workloads/{workload_id}", name="deleteEveryWorkload",
           summary="Delete anybody's workload with its schedules, runs and their files",
           operation=admin.delete_workload, success=204, raises=(Conflict,)),
    _Route(method="POST", path=f"{_PERSON}/transfer", name="transferWorkloads", body=Transfer,
           summary="Give all of a person's workloads to another", answer=Moved,
           operation=admin.transfer, raises=(Conflict,)),
    _Route(method="DELETE", path=f"{_PERSON}/server", name="stopServer", success=204,
           summary="Stop a person's default server", operation=admin.stop_server,
           raises=(Conflict,)),
    _Route(method="DELETE", path=f"{_PERSON}/servers/{{server}}", name="stopNamedServer",
           summary="Stop one of a person's named servers", operation=admin.stop_server,
           success=204, raises=(Conflict,)),
    _Route(method="DELETE", path="admin/orphans/{orphan}", name="endOrphan", success=204,
           summary="End an orphan, or remove what it left", operation=admin.end_orphan,
           raises=(Conflict,)),
)  # fmt: skip

_RULES = (
    _Route(method="GET", path="admin/notice", name="getAdminNotice", answer=Notice,
           summary="Show the banner and the drain mode", operation=rules.get_notice),
    _Route(method="PATCH", path="admin/notice", name="updateNotice", body=NoticePatch,
           summary="Change the banner or the drain mode", operation=rules.update_notice,
           answer=Notice),
    _Route(method="GET", path="admin/quotas", name="listQuotas", answer=QuotaList,
           summary="List the quotas", operation=rules.list_quotas),
    _Route(method="PUT", path="admin/quotas", name="putQuota", body=Quota, answer=Quota,
           summary="Set the quota of everyone, a group or a user", operation=rules.put_quota),
    _Route(method="DELETE", path="admin/quotas", name="removeQuota", query=QuotaParameters,
           summary="Remove a quota", operation=rules.remove_quota, success=204),
)  # fmt: skip

_PAST = (
    _Route(method="GET", path="admin/audit", name="listAudit", operation=rules.list_audit,
           summary="List who did what", query=AuditParameters, answer=AuditPage),
    _Route(method="GET", path="admin/audit.csv", name="exportAudit", sends="table",
           summary="Export who did what", operation=rules.export_audit,
           query=AuditTableParameters),
    _Route(method="GET", path="admin/usage", name="sumUsage", operation=rules.sum_usage,
           summary="Sum everybody's usage", query=TotalParameters, answer=TotalList),
    _Route(method="GET", path="admin/usage.csv", name="exportUsage", sends="table",
           summary="Export everybody's lines of the ledger", operation=rules.export_usage,
           query=TimeParameters),
)  # fmt: skip
