"""The provider for jupyter-scheduler: its extension's routes and panel over our service.

Upstream knows one-off *jobs* and *job definitions* with a schedule. A job of theirs is a run here,
a definition is a job with its schedule, and everything else (the run's life, its files, the
ticking) is the service's. See https://jupyter-scheduler.readthedocs.io/en/latest/developers.
"""

from __future__ import annotations

from himalia.scheduler.environments import HimaliaEnvironments
from himalia.scheduler.files import HimaliaJobFiles
from himalia.scheduler.provider import HimaliaScheduler

__all__ = ["HimaliaEnvironments", "HimaliaJobFiles", "HimaliaScheduler"]
