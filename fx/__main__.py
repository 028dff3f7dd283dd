"""The command line: ``python -m fx train mnist``, ``python -m fx viz curves run.csv``, ``python -m fx as-jax program.py``,
``python -m fx info``."""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .config import config
from .examples.catalogue import PROGRAMS
from .version import __version__


def _room(name: str) -> Any:
    """A module that one of the commands needs; the others begin without it."""
    return importlib.import_module(f"{__package__}.{name}")


def info() -> str:
    """Versions, and what runs compiled functions on this machine."""
    jit = _room("backend").native()
    rows = {
        "fx": __version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy": np.__version__,
        "llvmlite": importlib.import_module("llvmlite").__version__,
        "backend": f"{config.backend} (engine {config.engine})",
        "threads": jit.num_threads(),
        "default dtypes": f"{config.default_float}, {config.default_int}",
        "kernel cache": jit.cache_info(),
    }
    return "\n".join(f"{name:<15}{value}" for name, value in rows.items())


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line and does what it says."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv in (["train"], ["viz"]):  # what there is to choose from
        argv.append("--help")
    parser = argparse.ArgumentParser(
        prog="fx", description="fx: composable function transformations, compiled to native loops"
    )
    parser.add_argument("--version", action="version", version=f"fx {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, backend, threads, kernel cache")
    train = commands.add_parser("train", help="train a network on embedded data")
    names = train.add_subparsers(dest="program", required=True)
    for name, what in PROGRAMS.items():
        program = names.add_parser(name, help=what, description=what)
        if argv[:2] == ["train", name]:  # no other is imported
            programs = _room("examples.programs")
            programs.add_options(program, programs.load(name))
    stand_in = commands.add_parser("as-jax", help="run a program written for JAX, with fx in JAX's place (fx.as_jax)")
    stand_in.add_argument("-m", dest="module", action="store_true", help="the program is a module's name")
    stand_in.add_argument("program", help="a file of Python")
    stand_in.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own")
    figures = commands.add_parser("viz", help="draw figures of logs, models and arrays")
    if argv[:1] == ["viz"]:
        _room("examples.looking").add_commands(figures)
    options = vars(parser.parse_args(argv))
    command = options.pop("command")
    if command == "info":
        print(info())
    elif command == "as-jax":
        if not (options["module"] or Path(options["program"]).exists()):
            parser.error(f"as-jax: there is no file {options['program']!r}")
        _room("as_jax").run(**options)
    elif command == "viz":
        _room("examples.looking").run(options, parser)
    else:
        programs = _room("examples.programs")
        programs.run(programs.load(options.pop("program")), options, parser)


if __name__ == "__main__":
    main(sys.argv[1:])
