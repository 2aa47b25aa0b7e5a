"""What every backend promises about what an attempt leaves."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.core.errors import NotFound

pytestmark = pytest.mark.asyncio


async def test_the_log_is_read_from_any_place(bench: Any) -> None:
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan("print('one')", "print('zwei €')"))
    await bench.until_ended(ref)

    whole = await bench.backend.log(ref, offset=0, limit=1000)
    assert whole.data.decode() == "one\nzwei €\n"
    assert (whole.offset, whole.next_offset) == (0, len(whole.data))
    part = await bench.backend.log(ref, offset=4, limit=4)
    assert (part.data, part.offset, part.next_offset) == (b"zwei", 4, 8)
    tail = await bench.backend.log(ref, offset=-4, limit=1000)
    assert tail.data == whole.data[-4:]
    assert (await bench.backend.log(ref, offset=10_000, limit=10)).data == b""
    assert (await bench.backend.log(bench.ref(), offset=0, limit=10)).data == b""


async def test_events_are_read_on_from_a_position(bench: Any) -> None:
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan("a = 1", "a"))
    await bench.until_ended(ref)

    events, position = await bench.backend.events(ref, after=0)
    assert [(event.index, event.state) for event in events] == [
        (0, "running"),
        (0, "done"),
        (1, "running"),
        (1, "done"),
    ]
    assert events[0].name == "a = 1"
    assert events[1].seconds is not None
    assert position == 4
    assert await bench.backend.events(ref, after=3) == (events[3:], 4)
    assert await bench.backend.events(ref, after=4) == ((), 4)


async def test_outputs_are_listed_and_read(bench: Any) -> None:
    source = (
        "import os\nos.mkdir('d')\nos.symlink('/etc/passwd', 'p')\n"
        "open('d/a.csv', 'w').write('1,2')"
    )
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan(source, outputs=("**",), formats=("script",)))
    await bench.until_ended(ref)

    listed = [(output.name, output.role) for output in await bench.backend.outputs(ref)]
    assert listed == [("n.ipynb", "notebook"), ("n.py", "export"), ("d/a.csv", "file")]
    sizes = {output.name: output.size_bytes for output in await bench.backend.outputs(ref)}
    assert sizes["d/a.csv"] == 3
    assert [part async for part in bench.backend.read_output(ref, "d/a.csv")] == [b"1,2"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../result.json", "/etc/passwd", "d", "d/../n.ipynb", "\0", "n.ipynb/x"]
)
async def test_a_name_that_is_no_output_is_not_found(bench: Any, name: str) -> None:
    ref = bench.ref()
    outputs = bench.places.runs / ref.run_id / str(ref.attempt) / "outputs"
    outputs.mkdir(parents=True)
    (outputs / "d").mkdir()
    (outputs / "n.ipynb").write_text("{}")

    with pytest.raises(NotFound):
        await anext(bench.backend.read_output(ref, name))
