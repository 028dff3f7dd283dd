"""Weights from PyTorch, and for it: its names and layouts turned into ours, and back."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import nn, tree
from ..errors import ArgumentError, CheckpointError, CheckpointMismatchError, ShapeError
from . import structure
from .safetensors import read_safetensors
from .saving import LoadReport, replaced

__all__ = ["from_torch_layout", "load_torch", "torch_state_dict"]

Tree = Any
Layout = Callable[[np.ndarray], np.ndarray]
LAYOUTS: dict[str, Layout] = {
    "same": lambda a: a,
    "linear": lambda a: np.swapaxes(a, 0, 1),
    "conv": lambda a: np.moveaxis(a, (1, 0), (-2, -1)),
    "conv_transpose": lambda a: np.flip(np.moveaxis(a, (0, 1), (-2, -1)), tuple(range(a.ndim - 2))),
}
"""name -> from PyTorch's layout to ours.

``"linear"``: (out, in) to (in, out). ``"conv"``: (out, in, *window) to (*window, in, out). ``"conv_transpose"``:
(in, out, *window) to (*window, in, out), the window turned round for ``nn.conv(..., input_dilation=)``: PyTorch scatters
where we convolve. (``nn.ConvTranspose2d`` turns it round itself; its weights are recognised.)"""
BACK: dict[str, Layout] = {
    "same": lambda a: a,
    "linear": lambda a: np.swapaxes(a, 0, 1),
    "conv": lambda a: np.moveaxis(a, (-1, -2), (0, 1)),
    "conv_transpose": lambda a: np.moveaxis(np.flip(a, tuple(range(a.ndim - 2))), (-2, -1), (0, 1)),
}
_SAME = (nn.Embedding, nn.Bilinear, nn.LayerNorm, nn.RMSNorm)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_PARTS = {"query": 0, "keys": 1, "values": 2}
_FIELDS: dict[type, dict[str, str]] = {
    nn.Sequential: {"layers": ""},
    nn.TransformerEncoder: {"blocks": "layers"},
    nn.TransformerDecoder: {"blocks": "layers"},
    nn.TransformerEncoderBlock: {"attention": "self_attn"},
    nn.TransformerDecoderBlock: {"attention": "self_attn", "cross_attention": "multihead_attn"},
}
"""Fields that PyTorch's layers call otherwise, or (empty) leave out of their names."""


def from_torch_layout(array: Any, layout: str) -> np.ndarray:
    """An array of PyTorch's in our layout.

    Args:
        array: a NumPy array, or a tensor on the CPU.
        layout: ``"same"``, ``"linear"``, ``"conv"`` or ``"conv_transpose"``.

    >>> from_torch_layout(np.zeros((32, 3, 5, 5)), "conv").shape
    (5, 5, 3, 32)
    """
    found, least = np.asarray(array), {"same": 0, "linear": 2}.get(_known(layout), 3)
    if found.ndim < least:
        raise ShapeError(f"the layout {layout!r} is of arrays of {least} axes or more; found shape {found.shape}")
    return np.asarray(LAYOUTS[layout](found), order="C")


def _known(layout: str) -> str:
    if layout not in LAYOUTS:
        raise CheckpointError(f"layouts are {sorted(LAYOUTS)}; found {layout!r}")
    return layout


# ------------------------------------------------------------------------------------------ what layers hold


def _scattering(groups: int) -> tuple[Layout, Layout]:
    """To and from the layout of ``nn.ConvTranspose``: (in, out / groups, *window) and (*window, in / groups, out)."""

    def ours(a: np.ndarray) -> np.ndarray:
        cut = a.reshape(groups, a.shape[0] // groups, *a.shape[1:])
        turned = cut.transpose(*range(3, cut.ndim), 1, 0, 2)
        return turned.reshape(*turned.shape[:-2], -1)

    def theirs(a: np.ndarray) -> np.ndarray:
        cut = a.reshape(*a.shape[:-1], groups, -1)
        turned = np.moveaxis(cut, (-2, -3, -1), (0, 1, 2))
        return turned.reshape(-1, *turned.shape[2:])

    return ours, theirs


class _Kinds(NamedTuple):
    """Of a template: the layers whose weights are laid out in a way of their own, and what fields are called in PyTorch, by
    path."""

    layers: dict[str, Any]
    fields: dict[str, str]

    def layouts(self, path: str, given: Mapping[str, str], ndim: int) -> tuple[Layout, Layout]:
        """To our layout and from it: as given, else by the layer that holds the leaf, else by the custom of its name."""
        layout, field = _value_by_prefix(path, given), path.rpartition(".")[2]
        layer = self.layers.get(path.rpartition(".")[0])
        if isinstance(layer, _TRANSPOSED) and field == "weight" and layout in (None, "conv_transpose"):
            return _scattering(layer.groups)
        if layout is None:
            matrix = field.startswith("weight") and ndim >= 2 and not isinstance(layer, _SAME)
            layout = "same" if not matrix else "linear" if ndim == 2 else "conv"
        return LAYOUTS[_known(layout)], BACK[layout]

    def customary(self, path: str) -> tuple[str, int | None]:
        """The name that PyTorch's layers have for a leaf, and which third of that entry it is, if it is one.

        ``Sequential`` has no ``layers``, transformers call their blocks so, recurrent layers count them in the names of their
        parameters, attention keeps its three projections in one, and running statistics are ``running_mean`` and ``running_var``.
        """
        parts = path.split(".")
        theirs = [self.fields.get(".".join(parts[: i + 1]), part) for i, part in enumerate(parts)]
        return _of_layers(".".join(filter(None, theirs)))


def _kinds(like: Tree) -> _Kinds:
    found = dict(_modules(like, ()))
    fields = {
        f"{path}.{ours}".lstrip("."): theirs
        for path, x in found.items()
        for ours, theirs in next((f for kind, f in _FIELDS.items() if isinstance(x, kind)), {}).items()
    }
    return _Kinds({path: x for path, x in found.items() if not isinstance(x, nn.Sequential)}, fields)


def _modules(x: Tree, path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """The layers of a tree that ``_Kinds`` is about, by path."""
    if isinstance(x, (*_SAME, *_TRANSPOSED, *_FIELDS)):
        yield structure.path_of(path), x
    if x is None or not tree.is_tree_node(type(x)):
        return
    for key, child in tree.flatten_one_level_with_keys(x)[0]:
        yield from _modules(child, (*path, key))


def _of_layers(name: str) -> tuple[str, int | None]:
    """``customary`` of what a name alone tells."""
    name = re.sub(
        r"(^|\.)cells\.(\d+)\.([01])\.(weight|bias)_([ih]h|hr)$",
        lambda m: f"{m[1]}{m[4]}_{m[5]}_l{m[2]}" + ("_reverse" if m[3] == "1" else ""),
        name,
    )
    name = re.sub(r"(^|\.)mean$", r"\1running_mean", re.sub(r"(^|\.)variance$", r"\1running_var", name))
    name = re.sub(r"(^|\.)output\.(weight|bias)$", r"\1out_proj.\2", name)
    projected = re.search(r"(^|\.)(query|keys|values)\.(weight|bias)$", name)
    if projected is None:
        return name, None
    return f"{name[: projected.start()]}{projected[1]}in_proj_{projected[3]}", _PARTS[projected[2]]


def _apart(name: str, part: int) -> str:
    """The name of one of three projections that are not kept in one, as their sizes differ.

    >>> _apart("self_attn.in_proj_weight", 1)
    'self_attn.k_proj_weight'
    """
    return name.removesuffix("in_proj_weight") + f"{'qkv'[part]}_proj_weight"


def _candidates(
    path: str, names: Mapping[str, str] | Callable[[str], str], kinds: _Kinds
) -> Iterator[tuple[str, int | None]]:
    """The names that an entry may have in PyTorch, the likeliest first, and which third of it is meant."""
    if callable(names):
        yield names(path), None
        return
    yield _by_prefix(path, names), None
    prefix = _prefix(path, names)
    if prefix == path:
        return
    head = "" if prefix is None else names[prefix]
    start = "" if prefix is None else prefix
    whole, part = kinds.customary(path)
    begins = kinds.customary(start)[0] if start else ""
    yield ".".join(filter(None, (head, whole[len(begins) :].lstrip(".")))), part
    bare, part = _of_layers(re.sub(r"(^|\.)layers\.(?=\d+(\.|$))", r"\1", path[len(start) :].lstrip(".")))
    yield ".".join(filter(None, (head, bare))), part
    if part is not None and bare.endswith("in_proj_weight"):  # keys or values of a size of their own
        yield ".".join(filter(None, (head, _apart(whole[len(begins) :].lstrip("."), part)))), None


# ------------------------------------------------------------------------------------------------- loading


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
        source: a safetensors file, a ``state_dict`` (tensors on the CPU, or arrays, by name), or a PyTorch module.
        like: the template: a module, parameters in any pytree, or (module, state), the state that of ``nn.init_state``, for
            running statistics too.
        names: from paths in the template (of such a pair in both its parts) to PyTorch's names; a dict (whose keys may be prefixes:
            ``{"body": "features"}``), or a function. Without one an entry is looked for under its own path and under the name that PyTorch's layers
            have for it: ``layers.0.weight`` of a ``Sequential`` as ``0.weight``, ``cells.0.0.weight_ih`` as
            ``weight_ih_l0``, ``query.weight`` as the first third of ``in_proj_weight``, ``blocks.0.attention`` as
            ``layers.0.self_attn``, ``mean`` as ``running_mean``.
        layouts: from paths in the template (or their prefixes) to ``"same"``, ``"linear"``, ``"conv"``,
            ``"conv_transpose"``. By default the layers of ``fx.nn`` are known; in a template of plain arrays, matrices named
            ``weight`` are transposed and larger ones moved as convolutions' are.
        strict: raise unless every entry fits; False to leave the template's own where one does not.

    Returns:
        (the tree, a ``LoadReport``).

    Raises:
        CheckpointMismatchError: with ``strict``, if something is missing, unexpected or misshapen.

    A ``Linear`` behind ``Flatten`` sees (height, width, channels) here and (channels, height, width) there: reorder the
    rows of its weight, or pool to one pixel before it.

    >>> state_dict = {"fc.weight": np.ones((10, 4), np.float32), "fc.bias": np.zeros(10, np.float32)}
    >>> template = {"dense": {"weight": np.zeros((4, 10), np.float32), "bias": np.zeros(10, np.float32)}}
    >>> params, report = load_torch(state_dict, template, names={"dense": "fc"})
    >>> params["dense"]["weight"].shape
    (4, 10)
    """
    if hasattr(source, "state_dict"):
        source = source.state_dict()
    if not isinstance(source, (Mapping, str, os.PathLike)):
        raise ArgumentError(
            f"load_torch takes a safetensors file, a state_dict or a module of PyTorch's; found {type(source).__name__}"
        )
    found = source if isinstance(source, Mapping) else read_safetensors(source)
    template, kinds = structure.leaves_by_path(like), _kinds(like)
    names = _checked_names(names, template, _is_pair(like))
    values: dict[str, Any] = {}
    misshapen: dict[str, Any] = {}
    missing, used = [], set()
    for path, leaf in template.items():
        tried = list(_candidates(path, names, kinds))
        name, part = next(((n, p) for n, p in tried if n in found), (None, None))
        if name is None:
            missing.append(path if tried[0][0] == path else f"{path} (as {tried[0][0]})")
            continue
        used.add(name)
        array = _as_numpy(name, found[name])
        if part is not None:
            array = np.split(array, 3)[part] if array.ndim and array.shape[0] % 3 == 0 else array
        turn = kinds.layouts(path, layouts or {}, array.ndim)[0]
        try:
            array = turn(array)
        except (ValueError, IndexError):  # of too few axes to be turned: it does not fit
            pass
        fit = structure.fitted(np.asarray(array, order="C"), leaf, cast=True)
        (misshapen if isinstance(fit, structure.Misfit) else values)[path] = fit
    unexpected = [name for name in found if name not in used and not name.endswith("num_batches_tracked")]
    report = LoadReport(list(values), missing, unexpected, misshapen)
    if strict and not report.complete:
        raise CheckpointMismatchError(f"these are not the weights of such a model:\n{report}\n{_way_out(report)}")
    return replaced(like, values), report


def _is_pair(like: Tree) -> bool:
    """Whether a template is a module and its state."""
    return (
        isinstance(like, tuple)
        and len(like) == 2
        and isinstance(like[0], nn.Module)
        and nn.stateful(like[0])
        and tree.structure(like[1]) == tree.structure(nn.init_state(like[0]))
    )


def _checked_names(
    names: Mapping[str, str] | Callable[[str], str] | None, template: Mapping[str, Any], pair: bool
) -> Mapping[str, str] | Callable[[str], str]:
    """``names``, whose keys are paths of the template, or begin some; of a module and its state, paths of the module, which become
    those of both.

    Raises:
        ArgumentError: one is none.
    """
    if callable(names):
        return names
    names = {} if names is None else names
    if not isinstance(names, Mapping) or not all(isinstance(part, str) for item in names.items() for part in item):
        raise ArgumentError(
            f"names is a dict from paths of the model to names in the file, or a function; found {names!r:.80}"
        )
    dotted = {key.replace("/", "."): name for key, name in names.items()}
    paths = [path.partition(".")[2] for path in template] if pair else []
    if unknown := [k for k in dotted if k and all(_prefix(path, [k]) is None for path in (*template, *paths))]:
        raise ArgumentError(
            f"names go from paths of the model to names in the file; no path is or begins with {', '.join(map(repr, unknown))}. The paths"
            f" are {', '.join((paths or list(template))[:12])}{', ...' * (len(template) > 12)}."
        )
    if pair:
        of_one = {key: name for key, name in dotted.items() if key.partition(".")[0] in ("0", "1")}
        of_both = {key: name for key, name in dotted.items() if key not in of_one}
        return {"0": "", "1": ""} | {f"{i}.{k}".rstrip("."): n for k, n in of_both.items() for i in "01"} | of_one
    return dotted


def _way_out(report: LoadReport) -> str:
    advice = "strict=False loads what fits."
    if report.missing and report.unexpected:
        advice += " names={'path here': 'name there'} says what is called otherwise."
    if any(name.endswith(("running_mean", "running_var")) for name in report.unexpected):
        advice += " Running statistics are state: load into (model, nn.init_state(model))."
    return advice


def torch_state_dict(
    model: Tree, state: Tree = None, *, names: Mapping[str, str] | None = None, layouts: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:  # fmt: skip
    """A model's weights in PyTorch's names and layouts: what ``load_torch`` reads, turned back.

    Args:
        model: a module, or parameters in any pytree.
        state: its running statistics, if it keeps any.
        names: from paths, or prefixes of them, to PyTorch's names; what they leave over is named as PyTorch's layers do.
        layouts: as for ``load_torch``.

    >>> from fx import random
    >>> model = nn.Sequential(nn.Linear(4, 8, key=random.key(0)), nn.relu)
    >>> {name: array.shape for name, array in torch_state_dict(model).items()}
    {'0.weight': (8, 4), '0.bias': (8,)}

    ``write_safetensors(path, torch_state_dict(model, state))`` is a file that ``safetensors.torch.load_file`` reads.
    """
    kinds = _kinds(model)
    found: dict[str, np.ndarray] = {}
    leaves = structure.leaves_by_path(model)
    thirds: dict[str, list[tuple[str, np.ndarray]]] = {}
    for path, leaf in [*leaves.items(), *structure.leaves_by_path(state).items()]:
        array = np.asarray(leaf)
        array = np.asarray(kinds.layouts(path, layouts or {}, array.ndim)[1](array), order="C")
        (own, _), second = (*_candidates(path, names or {}, kinds), ("", None))[:2]
        name, part = second[0] or own, second[1]
        if part is not None and not _projections(path) <= leaves.keys():
            name, part = own, None  # a layer of another kind has a field of that name
        if part is not None:
            thirds.setdefault(name, [("", array)] * 3)[part] = (own, array)
        else:
            found[name] = array
    for name, thirds_of_it in thirds.items():
        owns, parts = zip(*thirds_of_it)
        if len({p.shape for p in parts}) == 1:
            found[name] = np.concatenate(parts)
        elif len({len(p) for p in parts}) == 1:  # keys or values of a size of their own
            found |= {_apart(name, i): p for i, p in enumerate(parts)}
        else:  # groups of queries that share keys: no layer of PyTorch's
            found |= dict(zip(owns, parts))
    return found


def _projections(path: str) -> set[str]:
    """The paths of the three projections that one of them stands beside."""
    *holder, _, field = path.split(".")
    return {".".join([*holder, part, field]) for part in _PARTS}


def _as_numpy(name: str, x: Any) -> np.ndarray:
    """A tensor's numbers; of bfloat16, which PyTorch does not hand to NumPy, as float32 (exactly).

    Raises:
        CheckpointError: it has none that NumPy knows: on another device, sparse, of 8 bits.
    """
    if str(getattr(x, "dtype", "")) == "torch.bfloat16":
        x = x.float()
    try:
        return np.asarray(x.detach() if hasattr(x, "detach") else x)
    except TypeError as e:
        raise CheckpointError(f"the entry {name!r} cannot be read as an array: {e}") from e


def _prefix(path: str, given: Iterable[str]) -> str | None:
    """The longest key that is the path, or begins it up to a dot."""
    return max((k for k in given if path == k or path.startswith(k + ".")), key=len, default=None)


def _by_prefix(path: str, names: Mapping[str, str]) -> str:
    prefix = _prefix(path, names)
    return path if prefix is None else (names[prefix] + path[len(prefix) :]).lstrip(".")


def _value_by_prefix(path: str, values: Mapping[str, str]) -> str | None:
    prefix = _prefix(path, values)
    return None if prefix is None else values[prefix]
