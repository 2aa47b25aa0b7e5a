"""How tests ask for what is promised in seconds, on a machine that may stand still."""

from __future__ import annotations

import os
import signal
import time

from tests.servers import stalls


def test_a_promise_is_given_the_time_that_the_machine_stood_still() -> None:
    begun = time.monotonic()
    time.sleep(0.5)
    before = stalls.allowed(0, begun)
    assert stalls.allowed(10, begun) >= 10 + before
    assert stalls._probe is not None
    # As the whole machine would, which the tests' process cannot see from within.
    os.kill(stalls._probe.pid, signal.SIGSTOP)
    time.sleep(2.0)
    during = stalls.allowed(0, begun)
    os.kill(stalls._probe.pid, signal.SIGCONT)
    assert during >= before + 1.0
    time.sleep(0.5)
    assert before + 1.0 <= stalls.allowed(0, begun) <= time.monotonic() - begun


def test_what_was_before_a_promise_gives_it_no_time() -> None:
    time.sleep(0.3)
    now = time.monotonic()
    given = stalls.allowed(1.0, now)
    assert given <= 1.0 + (time.monotonic() - now)
