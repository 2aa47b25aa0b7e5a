"""What a kernel's process writes past Jupyter's messages."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from himalia.runners.log import LogWriter

_KEPT = 64


@dataclass(slots=True)
class Console:
    """Puts raw output into the log, once.

    ipykernel sends what native code writes as messages, too, and echoes it here: then only the end
    of it is kept, for the case that the process dies with words that no message carried.
    """

    log: LogWriter
    is_echo: bool
    _last: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))

    def write(self, text: str) -> None:
        """Take what came."""
        if self.is_echo:
            self._last.extend(text.splitlines(keepends=True)[-_KEPT:])
        else:
            self.log.write(text)

    def release(self) -> None:
        """Write what was kept back."""
        if self._last:
            self.log.write("".join(part[:2000] for part in self._last))
            self._last.clear()
