"""Addresses made from a server's own table of routes, so that none is forgotten.

rows = recorded(folder)                      # what a running server says it serves
for address in addresses(rows, {"user_name": "alice"}): ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from re import _constants as op
from re import _parser as parser
from typing import Any

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")

RECORD = """
def _record_routes(folder):
    import json, os, sys
    from tornado.web import Application, RequestHandler

    def rules(router):
        for rule in router.rules:
            if hasattr(rule.target, "rules"):
                yield from rules(rule.target)
            elif hasattr(rule.matcher, "regex"):
                yield rule

    def served(handler):
        if not isinstance(handler, type) or not issubclass(handler, RequestHandler):
            return []
        names = ("get", "head", "post", "put", "patch", "delete", "options")
        return [n.upper() for n in names if getattr(handler, n) is not RequestHandler.get]

    def row(rule):
        name = getattr(rule.target, "__name__", "")
        socket = any(c.__name__ == "WebSocketHandler" for c in getattr(rule.target, "__mro__", ()))
        return [rule.matcher.regex.pattern, served(rule.target), name, socket]

    applications = []

    def write(self):
        if self not in applications:
            applications.append(self)
        routers = [
            router for one in applications for router in (one.wildcard_router, one.default_router)
        ]
        rows = [row(rule) for router in routers for rule in rules(router)]
        file = os.path.join(folder, f"{os.getpid()}.json")
        with open(file + ".new", "w") as out:
            json.dump({"program": sys.orig_argv, "rows": rows}, out)
        os.replace(file + ".new", file)

    make, add = Application.__init__, Application.add_handlers

    def made(self, *args, **kwargs):
        make(self, *args, **kwargs)
        write(self)

    def added(self, *args, **kwargs):
        add(self, *args, **kwargs)
        if hasattr(self, "wildcard_router") and hasattr(self, "default_router"):
            write(self)

    Application.__init__, Application.add_handlers = made, added

_record_routes({folder!r})
"""
"""Lines for a configuration file: each server that reads it writes its routes below `folder`."""


def record(folder: Path) -> str:
    """Return the lines that make servers write their routes; whatever their account is."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    return RECORD.replace("{folder!r}", repr(str(folder)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One pattern of a server's table."""

    pattern: str
    methods: tuple[str, ...]
    handler: str
    is_socket: bool


def recorded(folder: Path, program: str, prefix: str) -> tuple[Row, ...]:
    """Return the rows of the latest server with `program` in its command line, below `prefix`."""
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    for said in (json.loads(file.read_text()) for file in reversed(files)):
        rows = tuple(
            Row(pattern=pattern, methods=tuple(methods), handler=handler, is_socket=is_socket)
            for pattern, methods, handler, is_socket in said["rows"]
            if pattern.startswith(prefix)
        )
        if rows and program in " ".join(said["program"]):
            return rows
    raise LookupError(f"{program} has written no routes of {prefix} below {folder}")


def address(pattern: str, values: Mapping[str, str] | None = None) -> str:
    """Make an address that `pattern` matches, with `values` for its named groups where they fit.

    Groups without a name are looked up by their number, ``"1"`` and so on.
    """
    tree = parser.parse(pattern)
    # A value of another form belongs to another pattern's group of the same name.
    for given in (values or {}, {}):
        path = _example(tree, given)
        if re.fullmatch(pattern, path):
            return path
    raise AssertionError(f"no address was found for {pattern}")


def addresses(rows: Iterable[Row], values: Mapping[str, str]) -> dict[str, Row]:
    """Return one address for each row; of rows with the same one, the first is the one served."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(address(row.pattern, values), row)
    return found


def _example(tree: Any, values: Mapping[str, str]) -> str:
    names = {number: name for name, number in tree.state.groupdict.items()}
    return _all_of(tree, values, names)


def _all_of(items: Any, values: Mapping[str, str], names: Mapping[int, str]) -> str:
    return "".join(_of(one, values, names) for one in items)


def _of(item: Any, values: Mapping[str, str], names: Mapping[int, str]) -> str:
    made = ""
    match item:
        case (op.LITERAL, number):
            made = chr(number)
        case (op.NOT_LITERAL, number):
            made = "x" if chr(number) != "x" else "y"
        case (op.ANY, _):
            made = "x"
        case (op.AT | op.ASSERT | op.ASSERT_NOT, _):
            pass
        case (op.IN, choices):
            made = _one_of(choices)
        case (op.BRANCH, (_, (first, *_))):
            made = _all_of(first, values, names)
        case (op.SUBPATTERN, (number, _, _, inside)):
            value = values.get(names.get(number, str(number)))
            made = value or _all_of(inside, values, names)
        case (op.MAX_REPEAT | op.MIN_REPEAT | op.POSSESSIVE_REPEAT, (least, most, inside)):
            # What may be left out is left out, but not what stands for any text.
            count = least or int(most is op.MAXREPEAT and len(inside) == 1)
            made = _all_of(inside, values, names) * count
        case _:
            raise NotImplementedError(str(item))
    return made


def _one_of(choices: Any) -> str:
    """Return a character of a set."""
    negated = any(code is op.NEGATE for code, _ in choices)
    members = {
        chr(number)
        for code, what in choices
        if code in {op.LITERAL, op.RANGE}
        for number in (range(what[0], what[1] + 1) if code is op.RANGE else (what,))
    }
    categories = {what for code, what in choices if code is op.CATEGORY}
    if op.CATEGORY_DIGIT in categories:
        members |= set("0123456789")
    if op.CATEGORY_WORD in categories:
        members |= set("xyz")
    for candidate in "x0a/-y1":
        if (candidate in members) is not negated:
            return candidate
    return min(members)
