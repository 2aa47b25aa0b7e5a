"""Runs a notebook from a shell, without a backend."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from himalia.runners.attempt import AttemptFolder, read_json, write_json
from himalia.runners.log import read_log
from himalia.runners.task import NotebookTask


def run_by_hand(arguments: Sequence[str]) -> int:
    """Run the notebook that the arguments name; return the exit code."""
    options = _parser().parse_args(arguments)
    from himalia.runners.notebook import execute  # noqa: PLC0415 - which imports this

    source = Path(options.notebook).absolute()
    with tempfile.TemporaryDirectory(prefix="himalia-") as scratch:
        folder = AttemptFolder(Path(scratch) / "attempt")
        folder.make()
        folder.work.mkdir()
        if source.is_file():
            shutil.copyfile(source, folder.work / source.name)
        task = NotebookTask(
            notebook=source.name,
            parameters=dict(options.parameter),
            working_folder=str(source.parent),
            formats=tuple(options.format),
        )
        plan = {
            "run_id": "by-hand",
            "attempt": 1,
            "task": task.to_json(),
            "environment": options.environment,
            "env": dict(os.environ),
            "timeout_seconds": options.timeout,
            "grace_seconds": 10.0,
        }
        write_json(folder.plan, plan)
        code = execute(folder)
        sys.stdout.write(read_log(folder.log, offset=0, limit=2**30)[0].decode("utf-8", "replace"))
        output = Path(options.output).absolute()
        output.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder.outputs, output, dirs_exist_ok=True)
        reason = (read_json(folder.result) or {}).get("reason")
        if reason:
            sys.stderr.write(f"{reason['message']}\n{reason['next_step']}\n")
        return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m himalia.runners.notebook")
    parser.add_argument("notebook", help="notebook to run, or the folder of an attempt")
    parser.add_argument("--output", default=".", help="folder for what comes of it")
    parser.add_argument("--environment", help="kernelspec, or path of a Python environment")
    parser.add_argument("--format", action="append", default=[], help="an exporter of nbconvert")
    parser.add_argument("--timeout", type=float, help="seconds")
    parser.add_argument(
        "-p", "--parameter", action="append", default=[], type=_assignment, metavar="NAME=VALUE"
    )
    return parser


def _assignment(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
