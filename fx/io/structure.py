"""Pytrees as named arrays and a description in JSON, and back.

Every leaf has a path, ``layers.0.weight``: the same whether a container is a module, a dict or a named tuple, so that
weights can move between them. Arrays stand in the file under their path; Python's numbers and strings stand in the
description.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import dtypes, random, tree
from .. import numpy as fnp
from ..array import Array
from ..errors import CheckpointError, CorruptFileError

__all__: list[str] = []

Tree = Any
Leaf = dict[str, Any]
"""The description of a leaf: ``{"array": path}`` (with ``"as"``: ``"key"``, ``"complex128"``) or of a value in itself."""


def is_key(x: Any) -> bool:
    """Whether a value is an array of random keys."""
    return isinstance(x, random.KeyArray)


def is_array(x: Any) -> bool:
    return type(x) is Array or isinstance(x, (np.ndarray, np.generic))


def path_of(keys: tuple[Any, ...]) -> str:
    return tree.keystr(keys, simple=True, separator=".")


def leaves_by_path(values: Tree) -> dict[str, Any]:
    """Path -> leaf; arrays of keys are leaves.

    Raises:
        CheckpointError: two leaves have the same path.
    """
    found: dict[str, Any] = {}
    for keys, leaf in tree.leaves_with_path(values, is_leaf=is_key):
        path = path_of(keys)
        if path in found:
            raise CheckpointError(f"two leaves have the path {path!r}; give their dict keys other names")
        found[path] = leaf
    return found


# -------------------------------------------------------------------------------------------- leaves


def _float_text(x: float) -> str:
    return float(x).hex() if math.isfinite(x) else repr(float(x))


def describe_leaf(path: str, leaf: Any) -> tuple[Leaf, np.ndarray | None]:
    """How a leaf is written, and its array if it has one.

    Raises:
        CheckpointError: it is no array, number, string or bytes.
    """
    if is_key(leaf):
        return {"array": path, "as": "key"}, np.asarray(random.key_data(leaf))
    if is_array(leaf):
        masked = sys.modules.get("numpy.ma")  # which NumPy loads when it is first asked for, and that takes a while
        if masked is not None and isinstance(leaf, masked.MaskedArray):
            raise CheckpointError(
                f"the leaf {path!r} is a masked array, whose mask no file holds: save its data and its mask"
            )
        array = np.asarray(leaf)
        if array.dtype == np.complex128:
            return {"array": path, "as": "complex128"}, np.asarray(array, order="C")[..., None].view(np.float64)
        return {"array": path}, array
    if isinstance(leaf, bool):
        return {"bool": leaf}, None
    if isinstance(leaf, int):
        return {"int": str(leaf)}, None
    if isinstance(leaf, float):
        return {"float": _float_text(leaf)}, None
    if isinstance(leaf, complex):
        return {"complex": [_float_text(leaf.real), _float_text(leaf.imag)]}, None
    if isinstance(leaf, str):
        return {"str": leaf}, None
    raise CheckpointError(
        f"the leaf {path!r} is a {type(leaf).__name__}; a checkpoint holds arrays, keys, numbers and strings. Make it static"
        " (nn.static_field()), or leave it out of what is saved."
    )


def _float_of(text: str) -> float:
    return float(text) if text in ("nan", "inf", "-inf") else float.fromhex(text)


def leaf_of(description: Leaf, arrays: dict[str, np.ndarray]) -> Any:
    """The leaf that was described, arrays as NumPy's, keys as keys."""
    if "array" in description:
        array = arrays[description["array"]]
        if description.get("as") == "key":
            return random.wrap_key_data(array)
        return array.view(np.complex128)[..., 0] if description.get("as") == "complex128" else array
    ((kind, value),) = description.items()
    if kind == "complex":
        return complex(*map(_float_of, value))
    makers: dict[str, Any] = {"bool": bool, "int": int, "float": _float_of, "str": str}
    return makers[kind](value)


# ---------------------------------------------------------------------------------------- containers


_PLAIN: dict[type, str] = {list: "list", tuple: "tuple", dict: "dict", OrderedDict: "OrderedDict"}
_KEY_KINDS = (str, int, float, bool)


def describe(values: Tree) -> tuple[Any, dict[str, np.ndarray]]:
    """A pytree as (description, arrays by path)."""
    arrays: dict[str, np.ndarray] = {}
    leaves_by_path(values)  # refuses paths that are not unique
    return _describe(values, (), arrays), arrays


def _describe(x: Any, path: tuple[Any, ...], arrays: dict[str, np.ndarray]) -> Any:
    if x is None:
        return None
    if is_key(x) or not tree.is_tree_node(type(x)):
        description, array = describe_leaf(path_of(path), x)
        if array is not None:
            arrays[path_of(path)] = array
        return description
    children, _ = tree.flatten_one_level_with_keys(x)
    described = [_describe(child, (*path, key), arrays) for key, child in children]
    kind = _PLAIN.get(type(x))
    if kind in ("list", "tuple"):
        return {kind: described}
    if kind is not None:
        return {kind: [[_key(key.key), d] for (key, _), d in zip(children, described)]}
    name = f"{type(x).__module__}.{type(x).__qualname__}"
    return {"node": name, "children": [[path_of((key,)), d] for (key, _), d in zip(children, described)]}


def _key(key: Any) -> Any:
    if type(key) not in _KEY_KINDS:
        raise CheckpointError(f"a checkpoint holds dicts whose keys are strings or numbers; found {key!r}")
    return key


@contextlib.contextmanager
def making_sense(path: Any) -> Iterator[None]:
    """What goes wrong inside, with what stands in a file, is the file's fault.

    Raises:
        CorruptFileError: in its place.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as e:
        raise CorruptFileError(f"{path}: the structure in the file makes no sense: {e!r}") from e


def rebuild(d: Any, arrays: dict[str, np.ndarray]) -> Tree:
    """The pytree of a description in plain containers: modules, dataclasses and named tuples come as dicts."""
    if d is None:
        return None
    if "list" in d or "tuple" in d:
        ((kind, children),) = d.items()
        return (list if kind == "list" else tuple)(rebuild(c, arrays) for c in children)
    if "dict" in d or "OrderedDict" in d:
        ((kind, pairs),) = d.items()
        return (dict if kind == "dict" else OrderedDict)((k, rebuild(c, arrays)) for k, c in pairs)
    if "node" in d:
        return {k: rebuild(c, arrays) for k, c in d["children"]}
    return leaf_of(d, arrays)


def described_leaves(d: Any, path: str = "") -> dict[str, Leaf]:
    """Path -> description of every leaf of a description."""
    found: dict[str, Leaf] = {}
    _described_leaves(d, (), found)
    return found


def _described_leaves(d: Any, path: tuple[str, ...], found: dict[str, Leaf]) -> None:
    if d is None:
        return
    for kind in ("list", "tuple"):
        if kind in d:
            for i, child in enumerate(d[kind]):
                _described_leaves(child, (*path, str(i)), found)
            return
    for kind in ("dict", "OrderedDict", "children"):
        if kind in d:
            for key, child in d[kind]:
                _described_leaves(child, (*path, str(key)), found)
            return
    found[".".join(path)] = d


# ------------------------------------------------------------------------------ into a leaf of a template


@dataclasses.dataclass(frozen=True)
class Misfit:
    """Why a saved leaf does not fit the template's: what was found, what was wanted."""

    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.found} in the file, {self.wanted} in the template"


def text_of(leaf: Any) -> str:
    """A leaf's kind in words: ``float32[3, 2]``."""
    if is_key(leaf):
        return f"keys{list(leaf.shape)}"
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "shape") else f"Python {type(leaf).__name__}"


def fitted(saved: Any, leaf: Any, cast: bool) -> Any:
    """What was saved as a value of the template's leaf's kind, or a ``Misfit``.

    Args:
        cast: also from another dtype of the same kind of numbers.
    """
    misfit = Misfit(text_of(saved), text_of(leaf))
    if is_key(saved) or is_key(leaf):
        return saved if is_key(saved) and is_key(leaf) and saved.shape == leaf.shape else misfit
    if not hasattr(leaf, "shape"):
        fits = type(saved) is type(leaf) or (isinstance(leaf, float) and type(saved) is int)
        return type(leaf)(saved) if fits else misfit
    if not is_array(saved) and not (cast and isinstance(saved, (bool, int, float, complex))):
        return misfit
    wanted = np.dtype(leaf.dtype)
    saved = np.asarray(saved)
    if saved.shape != tuple(leaf.shape) or (saved.dtype != wanted and not (cast and _same_kind(saved.dtype, wanted))):
        return misfit
    saved = saved.astype(wanted, copy=False)
    return saved if isinstance(leaf, (np.ndarray, np.generic)) else fnp.asarray(saved)


def _same_kind(a: np.dtype, b: np.dtype) -> bool:
    kinds = (dtypes.is_bool, dtypes.is_integer, dtypes.is_float, dtypes.is_complex)
    return any(kind(a) and kind(b) for kind in kinds)
