"""The command line: ``python -m fx train mnist``, ``python -m fx info``."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

import numpy as np

from .backend import native
from .config import config
from .examples import _support, mnist
from .version import __version__


def info() -> str:
    """Versions, and what runs compiled functions on this machine."""
    jit = native()
    rows = {
        "fx": __version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy": np.__version__,
        "llvmlite": metadata.version("llvmlite"),
        "backend": f"{config.backend} (engine {config.engine})",
        "threads": jit.num_threads(),
        "default dtypes": f"{config.default_float}, {config.default_int}",
        "kernel cache": jit.cache_info(),
    }
    return "\n".join(f"{name:<15}{value}" for name, value in rows.items())


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line and does what it says."""
    parser = argparse.ArgumentParser(
        prog="fx", description="fx: composable function transformations, compiled to native loops"
    )
    parser.add_argument("--version", action="version", version=f"fx {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, backend, threads, kernel cache")
    train = commands.add_parser("train", help="train a network on embedded data")
    programs = train.add_subparsers(dest="program", required=True)
    _support.add_options(programs.add_parser("mnist", help="handwritten digits"), mnist.MODELS)
    options = vars(parser.parse_args(argv))
    command, _ = options.pop("command"), options.pop("program", None)
    if command == "info":
        print(info())
        return
    _support.run(mnist.train, options, parser)


if __name__ == "__main__":
    main(sys.argv[1:])
