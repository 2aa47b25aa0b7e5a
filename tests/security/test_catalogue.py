"""The table of threats has every number that tests carry, and names tests that there are."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
_ROW = re.compile(r"^\| (\d{3}) \| .+ \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"^\s*(?:async )?def test((?:_\d{3})+)_", re.MULTILINE)
SHOWN = {f"{number:03}" for number in (*range(1, 37), *range(87, 100))}


def there_are() -> dict[str, set[str]]:
    """Return the files with tests of each number."""
    found = defaultdict(set)
    for file in TESTS.rglob("test_*.py"):
        for numbers in _TEST.findall(file.read_text()):
            for number in numbers.strip("_").split("_"):
                found[number].add(file.relative_to(TESTS).as_posix())
    return {number: files for number, files in found.items() if number in SHOWN}


def test_the_table_of_threats_tells_of_every_test() -> None:
    text = (TESTS / "security/README.md").read_text()
    told = {number: set(re.findall(r"`([^`]+)`", files)) for number, files in _ROW.findall(text)}
    there = there_are()
    assert told.keys() == there.keys()
    for number, files in told.items():
        assert files <= there[number], number
    assert len(told) > 40
