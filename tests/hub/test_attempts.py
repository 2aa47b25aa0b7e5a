"""How many wrong passwords are let through."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from himalia_hub.attempts import Allowance, Attempts
from himalia_hub.entrance import address

TEN = Allowance(attempts=10, seconds=300)
ALICE, BOB = ("account", "alice"), ("account", "bob")


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock=clock, most_kept=1000)


def test_088_so_many_at_once_and_then_one_after_the_other(attempts: Attempts, clock: Clock) -> None:
    assert [attempts.take({ALICE: TEN}) for _ in range(12)] == [0] * 10 + [30, 30]
    assert attempts.take({BOB: TEN}) == 0
    clock.now += 29
    assert attempts.take({ALICE: TEN}) == 1
    clock.now += 1
    assert [attempts.take({ALICE: TEN}) for _ in range(2)] == [0, 30]
    clock.now += 300
    assert [attempts.take({ALICE: TEN}) for _ in range(11)] == [0] * 10 + [30]


def test_088_what_was_refused_makes_nobody_wait_longer(attempts: Attempts, clock: Clock) -> None:
    for _ in range(1000):
        attempts.take({ALICE: TEN})
    clock.now += 30
    assert attempts.take({ALICE: TEN}) == 0


def test_a_right_password_is_no_attempt(attempts: Attempts) -> None:
    for _ in range(100):
        assert attempts.take({ALICE: TEN}) == 0
        attempts.give_back({ALICE: TEN})


def test_what_is_refused_for_one_thing_counts_for_no_other(attempts: Attempts) -> None:
    for _ in range(50):
        attempts.take({ALICE: Allowance(attempts=1, seconds=60), BOB: TEN})
    assert [attempts.take({BOB: TEN}) for _ in range(10)] == [0] * 9 + [30]


def test_088_no_number_of_names_fills_the_memory(attempts: Attempts) -> None:
    name = "x" * 2**20
    tracemalloc.start()
    try:
        for number in range(20):
            attempts.take({("account", f"{name}{number}"): TEN})
        for number in range(10_000):
            attempts.take({("account", str(number)): TEN})
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(attempts) == 1000
    assert now < 1 << 20
    assert sys.getsizeof(name) > now


def test_whoever_has_waited_is_forgotten(attempts: Attempts, clock: Clock) -> None:
    attempts.take({ALICE: TEN})
    clock.now += 31
    attempts.take({ALICE: TEN, BOB: TEN})
    clock.now += 301
    attempts.take({BOB: TEN})
    attempts.take({ALICE: TEN})
    assert len(attempts) == 2


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        ("", "127.0.0.1"),
        ("192.0.2.7", "192.0.2.7"),
        ("made-up, 192.0.2.7", "192.0.2.7"),
        ("1.2.3.4, 192.0.2.7,10.0.0.1", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("made up", "unknown"),
    ],
)
def test_088_an_address_is_what_proxies_say_and_nobody_else(forwarded: str, found: str) -> None:
    headers = HTTPHeaders({"Host": "hub", "X-Real-IP": "203.0.113.1"})
    if forwarded:
        headers["X-Forwarded-For"] = forwarded
    line = RequestStartLine("POST", "/hub/login", "HTTP/1.1")
    request = HTTPServerRequest(start_line=line, headers=headers)
    request.remote_ip = "127.0.0.1"
    assert address(request, ["10.0.0.1"]) == found
