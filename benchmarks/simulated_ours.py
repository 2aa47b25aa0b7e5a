"""The spawner of the hub with Himalia that is measured."""

from __future__ import annotations

from pathlib import Path

from simulated import simulated

from himalia.agents.account import Account
from himalia_hub.spawner import HimaliaSpawner


class _WithoutAccounts(HimaliaSpawner):
    """Accounts are made once in a user's life, and by programs of the system."""

    account = Account(name="nobody", home=Path("/nonexistent"))


OursSimulated = simulated(_WithoutAccounts)
