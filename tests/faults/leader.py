"""A reconciler and a ticker under a name of their own: ``python leader.py HOME HOLDER STORE``.

A program of the tests: several of them over one store are what replicas of control will be.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from himalia.backends.local.backend import LocalBackend
from himalia.core.local_premises import LocalPremises
from himalia.core.places import Places
from himalia.core.reconciler import Reconciler, ReconcilerSettings
from himalia.core.ticker import Ticker
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore


async def lead(home: Path, holder: str, address: str) -> None:
    places, kinds = Places(home=home), load_kinds()
    store = SqlStore(address, kinds.decode_spec)
    backend = LocalBackend(places, pool_size=0)
    await store.open()
    await backend.open()
    settings = ReconcilerSettings(
        holder=holder,
        max_running=3,
        ballast=home / "ballast",
        lease_seconds=1.5,
        sweep_seconds=0.3,
    )
    premises = LocalPremises(places, kinds)
    reconciler = Reconciler(
        store=store,
        backend=backend,
        premises=premises,
        kinds=kinds,
        settings=settings,
    )
    ticker = Ticker(store=store, premises=premises, wake=reconciler.wake)
    print("leads", flush=True)
    await asyncio.gather(reconciler.run(), ticker.loop.run())


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(lead(Path(sys.argv[1]), *sys.argv[2:]))
