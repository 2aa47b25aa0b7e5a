"""Where jupyter-scheduler's jobs can run: the kernels that our service finds."""

from __future__ import annotations

from jupyter_scheduler.environments import EnvironmentManager, EnvironmentRetrievalError
from jupyter_scheduler.models import RuntimeEnvironment
from typing_extensions import override

from himalia.client import AsyncClient
from himalia.core.errors import HimaliaError
from himalia.scheduler.translation import LABELS, OFFERED, OWN_KERNEL


class _Labels(dict[str, str]):
    """Names of formats; one that is not known is called by itself."""

    def __missing__(self, key: str) -> str:
        return key


class HimaliaEnvironments(EnvironmentManager):  # type: ignore[misc]
    """Lists kernels, the notebook's own first."""

    client: AsyncClient
    """Set by the scheduler, which alone is told of the server's configuration."""

    @override
    async def list_environments(self) -> list[RuntimeEnvironment]:
        try:
            found = await self.client.environments()
        except HimaliaError as error:
            raise EnvironmentRetrievalError(error.message) from error
        named = [(one.name, one.title) for one in found]
        return [
            RuntimeEnvironment(
                name=name,
                # Upstream's panel finds the chosen environment by its label as if it were its name.
                label=name,
                description=title,
                file_extensions=["ipynb"],
                output_formats=list(OFFERED),
                metadata={},
            )
            for name, title in [(OWN_KERNEL, "The kernel that the notebook names"), *named]
        ]

    @override
    def manage_environments_command(self) -> str:
        return ""

    @override
    def output_formats_mapping(self) -> dict[str, str]:
        return _Labels(LABELS)
