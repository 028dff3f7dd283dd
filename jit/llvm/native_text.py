"""Functions written in LLVM IR -> addresses: what the loop language cannot say, such as atomic operations."""

from __future__ import annotations

from collections.abc import Sequence

from ..cache import default_store, environment_digest, kernel_key
from ..forks import compiling
from ..target import host
from .native import compile_text
from .objects import load_object

__all__ = ["load_text"]


def load_text(text: str, names: Sequence[str]) -> dict[str, int]:
    """The addresses of the functions ``names``, compiled for this machine now or at some time before."""
    target, store = host(), default_store()
    key = kernel_key(text, {"engine": "text"}, environment_digest(target.digest()))
    with compiling:
        data = store.get(key)
        if data is None:
            data = compile_text(text, target)
            store.put(key, data)
        return load_object(data, names)
