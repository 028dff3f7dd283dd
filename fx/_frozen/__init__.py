"""For PyInstaller, which asks a package what a program needs beside the imports that it can see.

``fx`` and ``jit`` load most of their modules when they are first used; so a program that is frozen takes all of them along.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

__all__ = ["data_files", "hook_folders", "module_names"]


def hook_folders() -> list[str]:
    """Where the hooks are: the entry point ``pyinstaller40`` of the distribution."""
    return [os.path.dirname(__file__)]


def module_names(package: str) -> list[str]:
    """All modules of a package."""
    names = [
        ".".join((package, *parts)).removesuffix(".py") for _, parts in _files(package) if parts[-1].endswith(".py")
    ]
    return sorted(n.removesuffix(".__init__") for n in names if "-" not in n)


def data_files(package: str) -> list[tuple[str, str]]:
    """(file, folder in the frozen program) of what is no module."""
    data = (".npz", ".txt", ".md")
    return [(path, os.path.join(package, *parts[:-1])) for path, parts in _files(package) if path.endswith(data)]


def _files(package: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The files of a package, and what leads from it to each."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for here, _, names in sorted(os.walk(folder)):
            inner = os.path.relpath(here, folder).split(os.sep)
            if "__pycache__" not in inner:
                yield from ((os.path.join(here, n), (*(p for p in inner if p != "."), n)) for n in sorted(names))
