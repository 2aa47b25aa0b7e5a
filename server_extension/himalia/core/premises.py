"""The contract of premises: where an owner's input files and the folders of their runs lie.

Control may not be allowed to touch them (they belong to another account of the machine, or lie on
a volume that only the owner's processes mount), so everything that reads or writes them goes
through here. What comes back was said by a process of the owner's and is checked like any input.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from himalia.core.homes import HomeUse
from himalia.core.model import Snapshot, Workload
from himalia.core.spec import Parameters, Spec


class Premises(ABC):
    """Files, by owner."""

    home: Callable[[str], Awaitable[HomeUse]]
    """Tells how full an owner's home is (:raises Unavailable: it cannot be reached)."""

    @abstractmethod
    async def pin(self, owner: str, kind: str, spec: Spec, root: Path) -> Snapshot | None:
        """Check `spec` against the files below `root` and pin what it names, if anything.

        :raises InvalidInput: naming each field that is wrong, as the kind's ``check`` does.
        :raises TooLarge: the files are too many or too large.
        :raises Unavailable: the owner's premises cannot be reached, or are full.
        """

    @abstractmethod
    async def check_parameters(self, workload: Workload[Spec], parameters: Parameters) -> None:
        """Check the parameters of one run against the workload's pinned files.

        :raises InvalidInput: naming ``parameters.NAME``.
        """

    @abstractmethod
    async def hold(self, owner: str, digest: str) -> None:
        """Keep a snapshot from being collected until what needs it now is stored.

        :raises Conflict: it is not there any more.
        """

    @abstractmethod
    async def spec(self, owner: str, digest: str, present: Spec) -> Spec:
        """Return the spec pinned in a snapshot, with what is no run's business as in `present`.

        :raises Unavailable: not now.
        :raises Refused: nor later; the run fails with what it says.
        """

    @abstractmethod
    async def outputs(self, owner: str, run_id: str, attempt: int) -> Path:
        """Name the folder of an attempt's outputs, as the owner's processes see it."""

    @abstractmethod
    async def owners(self) -> Sequence[str]:
        """Return whose premises are open, and so can be tidied now.

        An empty name stands for everybody: on a laptop all runs lie in one folder.
        """

    @abstractmethod
    async def runs(self, owner: str, *, after: str, limit: int) -> Sequence[str]:
        """Return the ids of runs that have left a folder: the next ones, in order."""

    @abstractmethod
    async def attempts(self, owner: str, run_id: str) -> Sequence[int]:
        """Return the numbers of the attempts that have left a folder."""

    @abstractmethod
    async def remove(self, owner: str, run_id: str) -> None:
        """Remove the folder of a run whose attempts were removed; does nothing where it is."""

    @abstractmethod
    async def collect(self, owner: str, needed: AbstractSet[str]) -> int:
        """Delete snapshots not in `needed`, by digest, that nobody pinned lately; count them."""

    @abstractmethod
    async def free_bytes(self, owner: str) -> int:
        """Return how much space is left where the owner's runs are kept."""

    @abstractmethod
    async def hand_over(
        self, owner: str, heir: str, digests: Iterable[str], run_ids: Iterable[str]
    ) -> None:
        """Copy snapshots, and what is left of runs, to whom they will belong.

        What is there already, or is gone, is passed over. Where owners share one place there is
        nothing to do.

        :raises Unavailable: not now; it may be repeated.
        """
