"""Where a training step stopped being finite: the batch, a parameter, an activation or a gradient, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np

from .. import dtypes, nn, tree
from .. import numpy as fnp
from ..api import grad
from ..config import config
from ..errors import FxError, NaNError

__all__ = ["explain_forward", "explain_not_finite"]

SHOWN = 4  # places named in a message, of many
REMEDY = "\nA smaller learning rate, clip=1.0 or not_finite='skip' may be the way out."

Tree = Any


def explain_not_finite(loss: Callable[[Tree, Tree], Any], model: Tree, batch: Tree, trainable: Any = None) -> str:
    """Says where the first NaN or infinity of a step comes from.

    Args:
        loss: ``loss(model, batch) -> scalar``, the key and everything else bound.
        model: the model before the step.
        batch: the batch of the step.
        trainable: tree of bools; see ``fx.nn.partition``. None: ``fx.nn.trainable(model)``.

    Returns:
        One of: what in the batch is not finite, what in the model; the module and operation that gave birth to it going
        forward; the parameters whose gradient is not finite, and the operation going backward.

    >>> print(explain_not_finite(lambda m, b: np.sum(np.log(m["w"]) * b), {"w": np.zeros(1)}, np.ones(1)).split(chr(10))[0])
    the loss: inf appeared: 'log' gave -inf at index (0,) of f64[1]
    """
    forward = explain_forward(loss, model, batch)
    if forward is not None:
        return forward
    model, batch = tree.map(fnp.asarray, (model, batch))
    trained, rest = nn.partition(model, nn.trainable(model) if trainable is None else trainable)
    of_trained = lambda t: loss(nn.combine(t, rest), batch)
    with np.errstate(all="ignore"):
        gradient = grad(of_trained)(trained)
    places = list(_not_finite(gradient))
    where = f"the gradient of {'; '.join(places[:SHOWN])}" if places else "the norm of the gradient, which overflows"
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    backward = _born(lambda: grad(of_trained)(trained), model, batch)
    return f"{where}{more}" + (f"\ngoing backward, {backward}" if backward else REMEDY)


def explain_forward(loss: Callable[[Tree, Tree], Any], model: Tree, batch: Tree) -> str | None:
    """The first part of ``explain_not_finite``: None if data, model and loss are finite."""
    for what, values, remedy in (
        ("the data", batch, "Clean it, or mask it in the loss: a NaN times 0 is still a NaN."),
        ("the model", model, "It was given like that: start from finite parameters, or from an earlier checkpoint."),
    ):
        found = list(_not_finite(values))
        if found:
            return f"{what} holds it already: " + "; ".join(found[:SHOWN]) + f". {remedy}"
    model, batch = tree.map(fnp.asarray, (model, batch))  # eager operations on arrays of our own are checked
    return _born(lambda: loss(model, batch), model, batch)


def _not_finite(values: Tree) -> Iterator[str]:
    """Each leaf that holds a NaN or an infinity, as text."""
    for path, leaf in tree.leaves_with_path(values):
        x = np.asarray(leaf)
        if dtypes.is_inexact(x.dtype):
            bad = ~np.isfinite(x)
            if bad.any():
                place = tuple(int(i) for i in np.argwhere(bad)[0])
                at = f" at {list(place)}" if place else ""
                yield f"{tree.keystr(path) or 'array'} is {x[place]}{at} ({int(bad.sum())} of {bad.size} elements)"


def _born(run: Callable[[], Any], model: Tree, batch: Tree) -> str | None:
    """The message of the operation that makes a NaN or an infinity, and the path of the module it stands in."""
    try:
        with config.using(debug_nans=True, debug_infs=True, disable_jit=True), np.errstate(all="ignore"):
            run()
    except FxError as error:  # a NaN, or what only values known can show: a label out of range
        path = _module_path(error.__traceback__, model) or "the loss"
        return f"{path}: {error}" + (_labels(batch) + REMEDY if isinstance(error, NaNError) else "")
    return None


def _module_path(frame: TracebackType | None, model: Tree) -> str | None:
    """The path of the innermost module of the model whose method was running."""
    known = {id(part): path for path, part in _parts(model, "model")}
    found = None
    while frame is not None:
        found = known.get(id(frame.tb_frame.f_locals.get("self")), found)
        frame = frame.tb_next
    return found


def _parts(x: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every container in a tree with its path."""
    structure = tree.structure(x, is_leaf=lambda v: v is not x)
    if structure.kind is None or x is None:
        return
    yield path, x
    for key, child in tree.leaves_with_path(x, is_leaf=lambda v: v is not x):
        yield from _parts(child, path + tree.keystr(key))


def _labels(batch: Tree) -> str:
    """The ranges of the integers in a batch: a label out of range is a usual suspect."""
    integers = [(tree.keystr(p), np.asarray(x)) for p, x in tree.leaves_with_path(batch)]
    ranges = [f"{p or 'batch'} from {x.min()} to {x.max()}" for p, x in integers if x.dtype.kind in "iu" and x.size]
    return f"\nintegers in the batch (labels out of range?): {', '.join(ranges)}" if ranges else ""
