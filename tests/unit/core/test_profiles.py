"""What a spec becomes that names a profile."""

from __future__ import annotations

import pytest

from himalia.core.errors import InvalidInput
from himalia.core.profiles import Profile, chosen, fitted
from himalia.core.spec import Resources
from himalia.kinds.job import JobSpec

BIG = Profile(name="big", title="Big", cpu=4, memory_bytes=2**30)


def test_a_spec_asks_for_what_its_profile_gives_unless_it_asks_for_less() -> None:
    plain = JobSpec(notebook="n.ipynb", profile="big")
    assert fitted(plain, BIG).resources == Resources(cpu=4, memory_bytes=2**30)
    modest = plain.model_copy(update={"resources": Resources(cpu=0.5)})
    assert fitted(modest, BIG).resources == Resources(cpu=0.5, memory_bytes=2**30)
    assert fitted(fitted(plain, BIG), BIG) == fitted(plain, BIG)


def test_a_spec_that_asks_for_more_is_refused_by_the_names_of_its_fields() -> None:
    greedy = JobSpec(notebook="n", resources=Resources(cpu=5, memory_bytes=2**31))
    with pytest.raises(InvalidInput) as refused:
        fitted(greedy, BIG)
    fields = [problem.field for problem in refused.value.problems]
    assert fields == ["resources.cpu", "resources.memory_bytes"]


def test_a_profile_that_is_not_offered_cannot_be_chosen() -> None:
    assert chosen("big", (BIG,)) == BIG
    for offered, said in (((BIG,), "big"), ((), "leave it out")):
        with pytest.raises(InvalidInput, match=said) as refused:
            chosen("gold", offered)
        assert refused.value.problems[0].field == "profile"
