"""Parameters as jupyter-scheduler writes them: Python source, one expression a name.

Upstream puts ``name = <text>`` into the notebook as it is. Here a text is read as a value, so
that it cannot be more than that: literals keep their meaning, words become text.
"""

from __future__ import annotations

import ast
import json
import math
import warnings

from pydantic import JsonValue

from himalia.core.errors import FieldProblem, InvalidInput

_JSON_WORDS = {"true": True, "false": False, "null": None}
_COMPUTED = (
    ast.Call,
    ast.Subscript,
    ast.Lambda,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.IfExp,
    ast.JoinedStr,
    ast.NamedExpr,
    ast.Await,
)
_MAX_TEXT = 1_000_000


def read(texts: dict[str, str] | None) -> dict[str, JsonValue]:
    """Turn source texts into values.

    :raises InvalidInput: naming ``parameters.NAME``: the text would have to be computed, or its
        value cannot be kept.
    """
    values: dict[str, JsonValue] = {}
    problems = []
    for name, text in (texts or {}).items():
        try:
            values[name] = _value(text)
        except ValueError as error:
            problems.append(FieldProblem(field=f"parameters.{name}", message=str(error)))
    if problems:
        text = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        raise InvalidInput(text, problems=tuple(problems))
    return values


def write(values: dict[str, JsonValue]) -> dict[str, str]:
    """Turn values into source texts that mean the same."""
    return {name: repr(value) for name, value in values.items()}


def _value(text: str) -> JsonValue:
    text = text.strip()
    if len(text) > _MAX_TEXT:
        raise ValueError("this is too long")
    if text in _JSON_WORDS:
        return _JSON_WORDS[text]
    try:
        with warnings.catch_warnings():
            # What Python has to say about the style of a user's text helps nobody here.
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _json_or(text, text)
    try:
        return _plain(ast.literal_eval(tree))
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, _CannotBeKept):
            raise
    nodes = list(ast.walk(tree))
    is_wordy = any(isinstance(node, ast.Name) for node in nodes)
    is_computed = not is_wordy or any(isinstance(node, _COMPUTED) for node in nodes)
    read_as_json = _json_or(text, None if is_computed else text)
    if read_as_json is None:
        raise ValueError(
            "expressions are not computed; write the value itself, or put text in quotes"
        )
    return read_as_json


def _json_or(text: str, otherwise: str | None) -> JsonValue:
    """Read JSON, whose words Python does not know; or take what is `otherwise`."""
    try:
        return _plain(json.loads(text, parse_constant=_refuse))
    except (ValueError, RecursionError):
        return otherwise


def _refuse(constant: str) -> float:
    raise ValueError(constant)


class _CannotBeKept(ValueError):
    pass


def _plain(value: object) -> JsonValue:
    """Bring a literal into what JSON can say.

    :raises ValueError: JSON has nothing like it.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise _CannotBeKept(
        f"a value of type {type(value).__name__} cannot be kept; use text, numbers, "
        "True, False, None, lists and dictionaries with text as keys"
    )
