"""Weights from PyTorch: its names and layouts turned into ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError, CheckpointMismatchError
from . import structure
from .safetensors import read_safetensors
from .saving import LoadReport, replaced

__all__ = ["from_torch_layout", "load_torch"]

Tree = Any
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda a: a,
    "linear": lambda a: np.swapaxes(a, 0, 1),
    "conv": lambda a: np.moveaxis(a, (1, 0), (-2, -1)),
    "conv_transpose": lambda a: np.flip(np.moveaxis(a, (0, 1), (-2, -1)), tuple(range(a.ndim - 2))),
}
"""name -> from PyTorch's layout to ours.

``"linear"``: (out, in) to (in, out). ``"conv"``: (out, in, *window) to (*window, in, out). ``"conv_transpose"``:
(in, out, *window) to (*window, in, out), the window turned round: PyTorch scatters where we convolve."""


def from_torch_layout(array: Any, layout: str) -> np.ndarray:
    """An array of PyTorch's in our layout.

    Args:
        array: a NumPy array, or a tensor on the CPU.
        layout: ``"same"``, ``"linear"``, ``"conv"`` or ``"conv_transpose"``.

    >>> from_torch_layout(np.zeros((32, 3, 5, 5)), "conv").shape
    (5, 5, 3, 32)
    """
    if layout not in LAYOUTS:
        raise CheckpointError(f"layouts are {sorted(LAYOUTS)}; found {layout!r}")
    return np.ascontiguousarray(LAYOUTS[layout](np.asarray(array)))


def _layout_of(name: str, array: np.ndarray) -> str:
    """The layout of an entry by PyTorch's customs: matrices named ``weight`` are Linear's, larger ones convolutions'."""
    if not name.rpartition(".")[2].startswith("weight") or array.ndim < 2:
        return "same"
    return "linear" if array.ndim == 2 else "conv"


def load_torch(
    source: str | os.PathLike[str] | Mapping[str, Any],
    like: Tree,
    *,
    names: Mapping[str, str] | Callable[[str], str] | None = None,
    layouts: Mapping[str, str] | None = None,
    strict: bool = True,
) -> tuple[Tree, LoadReport]:
    """Loads the weights of a PyTorch model into a template, turned into our layouts.

    Args:
        source: a safetensors file, or a ``state_dict`` (tensors on the CPU, or arrays, by name).
        like: the template: a module, or parameters in any pytree.
        names: from paths in the template to PyTorch's names; a dict (whose keys may be prefixes: ``{"body": "features"}``),
            or a function. By default the paths themselves.
        layouts: from paths in the template (or their prefixes) to ``"same"``, ``"linear"``, ``"conv"``,
            ``"conv_transpose"``. By default matrices named ``weight`` are transposed and larger ones moved as
            convolutions' are, so only embeddings (``"same"``) and transposed convolutions must be named.
        strict: raise unless every entry fits; False to leave the template's own where one does not.

    Returns:
        (the tree, a ``LoadReport``).

    Raises:
        CheckpointMismatchError: with ``strict``, if something is missing, unexpected or misshapen.

    >>> state_dict = {"fc.weight": np.ones((10, 4), np.float32), "fc.bias": np.zeros(10, np.float32)}
    >>> template = {"dense": {"weight": np.zeros((4, 10), np.float32), "bias": np.zeros(10, np.float32)}}
    >>> params, report = load_torch(state_dict, template, names={"dense": "fc"})
    >>> params["dense"]["weight"].shape
    (4, 10)
    """
    found = source if isinstance(source, Mapping) else read_safetensors(source)
    template = structure.leaves_by_path(like)
    origin = {path: names(path) if callable(names) else _by_prefix(path, names or {}) for path in template}
    values, misshapen = {}, {}
    for path, name in origin.items():
        if name not in found:
            continue
        array = _as_numpy(found[name])
        layout = _value_by_prefix(path, layouts or {}) or _layout_of(name, array)
        fit = structure.fitted(from_torch_layout(array, layout), template[path], cast=True)
        (misshapen if isinstance(fit, structure.Misfit) else values)[path] = fit
    used = set(origin.values())
    report = LoadReport(
        loaded=list(values),
        missing=[p for p, name in origin.items() if name not in found],
        unexpected=[name for name in found if name not in used and not name.endswith("num_batches_tracked")],
        misshapen=misshapen,
    )
    if strict and not report.complete:
        raise CheckpointMismatchError(
            f"these are not the weights of such a model:\n{report}\nstrict=False loads what fits."
        )
    return replaced(like, values), report


def _as_numpy(x: Any) -> np.ndarray:
    """A tensor's numbers; of bfloat16, which PyTorch does not hand to NumPy, as float32 (exactly)."""
    if str(getattr(x, "dtype", "")) == "torch.bfloat16":
        x = x.float()
    return np.asarray(x.detach() if hasattr(x, "detach") else x)


def _prefix(path: str, given: Mapping[str, str]) -> str | None:
    """The longest key that is the path, or begins it up to a dot."""
    return max((k for k in given if path == k or path.startswith(k + ".")), key=len, default=None)


def _by_prefix(path: str, names: Mapping[str, str]) -> str:
    prefix = _prefix(path, names)
    return path if prefix is None else (names[prefix] + path[len(prefix) :]).lstrip(".")


def _value_by_prefix(path: str, values: Mapping[str, str]) -> str | None:
    prefix = _prefix(path, values)
    return None if prefix is None else values[prefix]
