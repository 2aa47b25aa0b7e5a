"""The spawner of the plain hub that is measured."""

from __future__ import annotations

from jupyterhub.spawner import SimpleLocalProcessSpawner
from simulated import simulated

PlainSimulated = simulated(SimpleLocalProcessSpawner)
