"""What the user gave, checked before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from himalia.core.problems import invalid
from himalia.core.spec import Model

M = TypeVar("M", bound=Model)


def valid(model: type[M], **fields: Any) -> M:
    """Build a model.

    :raises InvalidInput: naming each field that is wrong.
    """
    return validated(model, fields)


def validated(model: type[M], fields: Mapping[str, Any]) -> M:
    """Build a model from a mapping.

    :raises InvalidInput: naming each field that is wrong.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise invalid(error) from error
