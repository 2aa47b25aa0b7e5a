"""Profiles: what a run may be given, chosen by name from a list that an administrator made."""

from __future__ import annotations

from collections.abc import Iterable

from himalia.core.errors import FieldProblem, InvalidInput
from himalia.core.spec import Model, Resources, S


class Profile(Model):
    """One line of the list, as those see it who may choose it."""

    name: str
    """What a spec's `profile` takes."""
    title: str
    description: str = ""
    cpu: float | None = None
    """Cores, at most."""
    memory_bytes: int | None = None
    """At most."""
    gpu: int = 0
    price: str = ""
    """In the administrator's words."""
    is_default: bool = False
    """Whether a session gets it whose user chose none."""


def chosen(name: str, offered: Iterable[Profile]) -> Profile:
    """Return a profile by its name (:raises InvalidInput: there is none such to choose)."""
    names = []
    for profile in offered:
        if profile.name == name:
            return profile
        names.append(profile.name)
    open_to_you = f"those that you may choose are: {', '.join(names)}" if names else "leave it out"
    raise InvalidInput.of("profile", f"there is no profile {name!r} for you; {open_to_you}")


def fitted(spec: S, profile: Profile) -> S:
    """Return `spec` with what its profile gives where it asks for nothing itself.

    Quotas and the ledger go by what a spec asks for.

    :raises InvalidInput: it asks for more than the profile gives.
    """
    asked, problems = spec.resources, []
    for field in ("cpu", "memory_bytes"):
        wish, most = getattr(asked, field), getattr(profile, field)
        if wish is not None and most is not None and wish > most:
            text = f"the profile {profile.name!r} gives at most {most:g}; ask for less, or for none"
            problems.append(FieldProblem(field=f"resources.{field}", message=text))
    if problems:
        text = "; ".join(f"{one.field}: {one.message}" for one in problems)
        raise InvalidInput(text, problems=tuple(problems))
    given = Resources(
        cpu=asked.cpu or profile.cpu, memory_bytes=asked.memory_bytes or profile.memory_bytes
    )
    return spec.model_copy(update={"resources": given})
