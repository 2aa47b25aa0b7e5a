"""A run gives what bare nbclient gives, whether its kernel was forked ahead or not."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from nbclient import NotebookClient
from nbformat import from_dict

from tests.servers.patience import PATIENCE_SECONDS

CELLS = [
    "from IPython.display import HTML, Markdown, clear_output, display, update_display\nimport sys",
    "print('out'); print('err', file=sys.stderr); print('out again')",
    "6 * 7",
    "display(HTML('<b>x</b>'), Markdown('*y*'))",
    "handle = display('first', display_id='d')",
    "update_display('second', display_id='d')",
    "print('gone'); clear_output(); print('stays')",
    "print('gone'); clear_output(wait=True); print('stays')",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.title('t');",
    "plt.show()\nfig, ax = plt.subplots(); ax.bar([1], [2])",
    "import pandas as pd\npd.DataFrame({'a': [1, 2]})",
    "import ipywidgets as w\nslider = w.IntSlider(value=3)\nslider",
    "out = w.Output()\ndisplay(out)\nwith out:\n    print('in the widget')",
    "import asyncio\nawait asyncio.sleep(0.01)\n'awaited'",
    "%precision 3\n%who_ls",
    "!echo from the shell",
    "%%bash\necho from bash",
    "import os, time\nos.system('echo from os.system')\ntime.sleep(0.5)",
    "import warnings\nwarnings.warn('careful', stacklevel=1)",
    {"source": "1/0", "metadata": {"tags": ["raises-exception"]}},
    {"source": "input('name?')", "metadata": {"tags": ["raises-exception"]}},
    {"source": "raise Exception('not run')", "metadata": {"tags": ["skip-execution"]}},
    {"cell_type": "markdown", "source": "# text"},
    "  \n",
    "_, In[3], len(Out) > 0",
    "import threading\nt = threading.Thread(target=print, args=('thread',)); t.start(); t.join()",
    "%config InlineBackend.figure_format",
    "get_ipython().__class__.__name__, __name__, sys.flags.interactive, sys.getrecursionlimit()",
    "import signal\nsignal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)",
]


def _comparable(notebook: dict[str, Any]) -> list[Any]:
    """Return what must be equal: all but times, addresses, random identifiers and paths."""
    cells = []
    for cell in notebook["cells"]:
        outputs: list[dict[str, Any]] = []
        for output in map(dict, cell.get("outputs", [])):
            text = output.get("text")
            if text is not None:
                output["text"] = "".join(text)
                # How a stream is cut into messages is chance.
                same = [o for o in outputs if o.get("name") == output["name"]]
                if same:
                    same[0]["text"] += output["text"]
                    continue
            outputs.append(output)
        cells.append((cell.get("execution_count"), sorted(map(_text, outputs))))
    return cells


def _text(output: dict[str, Any]) -> str:
    data = output.get("data")
    if data:
        joined = {
            kind: "".join(value) for kind, value in data.items() if isinstance(value, str | list)
        }
        output = {**output, "data": joined}
    text = json.dumps(output, sort_keys=True)
    for pattern in (
        r"0x[0-9a-f]+",
        r"\b[0-9a-f]{32}\b",
        r"IPY_MODEL_\w+",
        r"ipykernel_\d+",
        r"/tmp/[\w/]+",
    ):
        text = re.sub(pattern, "*", text)
    return text


@pytest.fixture(scope="module")
def bare(make_document: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The notebook as bare nbclient runs it."""
    notebook = from_dict(make_document(*CELLS))
    folder = str(tmp_path_factory.mktemp("bare"))
    with pytest.MonkeyPatch.context() as patch:
        # With it, ipykernel would not capture what processes write.
        patch.delenv("PYTEST_CURRENT_TEST")
        NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
    return json.loads(json.dumps(notebook))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["runs", "cold_runs"])
def test_outputs_are_those_of_nbclient(
    kind: str, bare: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    run = request.getfixturevalue(kind).run(*CELLS)

    assert run.result["reason"] is None
    ours = run.notebook
    for cell, mine, theirs in zip(CELLS, _comparable(ours), _comparable(bare), strict=True):
        assert mine == theirs, cell
    assert ours["metadata"]["language_info"] == bare["metadata"]["language_info"]
    widgets = [next(iter(n["metadata"]["widgets"].values()))["state"] for n in (ours, bare)]
    models = [sorted(state["model_name"] for state in found.values()) for found in widgets]
    assert models[0] == models[1]


_SURROUNDINGS = """
import json, os, resource, signal, socket, sys, threading
print(json.dumps({
    "environ": sorted(os.environ.items()),
    "cwd": os.getcwd(),
    "path": sys.path,
    "argv": sys.argv[0],
    "umask": os.umask(0o22),
    "threads": sorted(t.name for t in threading.enumerate() if t.name != "MainThread"),
    "limits": [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_DATA)],
    "pending": sorted(map(int, signal.sigpending())),
    "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "nice": os.nice(0),
    "stdin": os.readlink("/proc/self/fd/0"),
    "main": str(sys.modules["__main__"].__dict__ is globals()),
    "backend": os.environ.get("MPLBACKEND"),
    "group": os.getpgrp() == os.getpid(),
}))
"""


def test_a_kernel_forked_ahead_finds_the_same_surroundings(runs: Any, cold_runs: Any) -> None:
    env = {"TZ": "Asia/Kathmandu", "HIMALIA_TEST": "x"}
    runs.run("1")  # the warm process has come up
    found = []
    for some in (runs, cold_runs):
        run = some.run(_SURROUNDINGS, "import time; print(time.tzname[0])", env=env)
        seen = json.loads(run.text(0))
        own = {"JPY_PARENT_PID", "HIMALIA_ATTEMPT"}
        seen["environ"] = [pair for pair in seen["environ"] if pair[0] not in own]
        assert Path(seen.pop("cwd")) == run.folder.work
        # Threads of ipykernel's are numbered as they come.
        seen["threads"] = [re.sub(r"-?\d+", "", name) for name in seen["threads"]]
        found.append((seen, run.text(1)))

    for name, value in found[0][0].items():
        assert value == found[1][0][name], name
    assert found[0][1] == "+0545\n"


def test_kernels_forked_from_one_process_draw_different_random_numbers(runs: Any) -> None:
    source = (
        "import random, uuid, tempfile\nprint(random.random(), uuid.uuid4(), tempfile.mktemp())"
    )
    assert len({runs.run(source).text(0) for _ in range(3)}) == 3


@pytest.mark.parametrize("kind", ["runs", "cold_runs"])
def test_exit_hooks_run_and_open_files_are_written(
    kind: str, request: pytest.FixtureRequest
) -> None:
    source = (
        "import atexit, gzip\n"
        "f = open('open.txt', 'w'); f.write('flushed')\n"
        "g = gzip.open('open.gz', 'wt'); g.write('zipped')\n"
        "atexit.register(lambda: open('hook.txt', 'w').write('ran'));"
    )
    run = request.getfixturevalue(kind).run(source, outputs=("open.*", "hook.txt"))

    assert run.result["status"] == "succeeded"
    assert (run.folder.outputs / "open.txt").read_text() == "flushed"
    assert (run.folder.outputs / "hook.txt").read_text() == "ran"
    assert (run.folder.outputs / "open.gz").stat().st_size > 20


def test_an_early_variable_is_there_when_the_interpreter_comes_up(
    runs: Any, tmp_path: Path
) -> None:
    (tmp_path / "extra_module.py").write_text("found = 'yes'")
    env = {"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "7"}
    first = runs.run("import extra_module; print(extra_module.found, hash('a'))", env=env)
    second = runs.run("import extra_module; print(extra_module.found, hash('a'))", env=env)

    assert first.text(0).startswith("yes ")
    assert first.text(0) == second.text(0)


def test_a_kernel_ends_when_its_runner_does(runs: Any, make_document: Any) -> None:
    run = runs.start(make_document("import os; print(os.getpid())", "while True: pass"))
    run.wait_for_cell(1)
    kernel = int(run.log)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Path(f"/proc/{kernel}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_working_folder_is_live_and_relative_imports_work(runs: Any, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("x = 5")
    run = runs.run(
        "import beside, os; print(beside.x, os.getcwd())\nopen('made.txt', 'w').write('1');",
        working_folder=str(tmp_path),
        outputs=("*.txt",),
    )

    assert run.text(0) == f"5 {tmp_path}\n"
    assert (tmp_path / "made.txt").exists()
    assert (run.folder.outputs / "made.txt").read_text() == "1"


@pytest.mark.parametrize("kind", ["runs", "cold_runs"])
def test_files_beside_the_notebook_take_the_place_of_no_module(
    kind: str, request: pytest.FixtureRequest
) -> None:
    names = ("himalia", "json", "asyncio", "nbformat", "ipykernel", "random", "traitlets", "struct")
    files = {f"{name}.py": b"raise SystemExit('shadowed')" for name in names}
    run = request.getfixturevalue(kind).run("print('ran')", files=files)

    assert run.result["reason"] is None
    assert run.text(0) == "ran\n"
