"""How long tests wait for what must happen."""

from __future__ import annotations

PATIENCE_SECONDS = 150.0
"""For anything that must come to be, however slow or stalled the machine is. A test that goes well
loses nothing by it; what is promised in seconds is asserted with :mod:`tests.servers.stalls`.
"""
