"""What users are told of a wrong field."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import himalia
from himalia.core.problems import FORMS, invalid
from himalia.kinds.job import JobSpec


def problems_of(fields: dict[str, object]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(fields)
    return {problem.field: problem.message for problem in invalid(caught.value).problems}


def test_every_pattern_of_a_field_is_told_in_words() -> None:
    sources = Path(himalia.__file__).parent.rglob("*.py")
    written = {
        pattern
        for source in sources
        for pattern in re.findall(r'\bpattern=r"([^"]+)"', source.read_text())
    }
    assert written == FORMS.keys()


def test_patterns_are_not_shown_to_users() -> None:
    told = problems_of({"notebook": "a", "notify": [{"email": "nobody"}], "env": {"1": "x"}})
    assert told["notify.0.email"] == "must be one e-mail address: name@host"
    assert not any("pattern" in text or "^" in text for text in told.values())


def test_values_are_not_told_since_one_may_be_a_secret() -> None:
    told = problems_of({"notebook": "a", "notify": [{"secret": "hunter2"}]})
    assert "hunter2" not in json.dumps(told)


def test_unknown_fields_are_told_by_name() -> None:
    assert problems_of({"notebook": "a", "owner": "eve"}) == {"owner": "unknown field"}
