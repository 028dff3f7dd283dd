"""What a run is given, looked at before anything is compiled: each mistake by name, with the way out."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import dtypes, tree
from .. import numpy as fnp
from ..data import Dataset
from ..errors import TrainingError, TrainingWarning
from ..ir import short_dtype
from ..signatures import signature_of

__all__ = [
    "checked_batches", "checked_callbacks", "checked_clip", "checked_element", "checked_epochs", "checked_interval", "checked_loss", "checked_metrics", "checked_model",
    "checked_optimizer", "checked_report", "checked_value", "strings_way_out", "told", "warn_of_wide",
]  # fmt: skip

Tree = Any
RESERVED = ("finite", "gradient_norm", "loss", "loss_scale")
_CUT = "data.batches((x, y), 32), or data.from_arrays((x, y)).shuffle(seed=0).batch(32)"


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def told(batch: Tree, whole: bool = True) -> str:
    """The paths, dtypes and shapes of the arrays of a batch; not ``whole``: but for how many examples there are."""
    leaves = [(tree.keystr(p) or "batch", np.asarray(x)) for p, x in tree.leaves_with_path(batch)]
    kinds = [f"{path}: {_kind(x)}[{','.join(map(str, x.shape[0 if whole else 1 :]))}]" for path, x in leaves]
    return ", ".join(kinds) or f"no array, but {batch!r:.60}"


def _kind(x: np.ndarray) -> str:
    return short_dtype(x.dtype) if x.dtype in dtypes.ALL else str(x.dtype)


# --------------------------------------------------------------------------------------------------- data


def checked_batches(source: Any, who: str) -> Iterable[Any]:
    """``source``, if it gives batches one after the other.

    Raises:
        TrainingError: it is the examples themselves, or nothing that can be gone through.
    """
    if _is_array(source):
        raise TrainingError(
            f"{who} goes through batches; found one array of shape {tuple(source.shape)}, whose rows would each be taken for a"
            f" batch. Cut it into batches, {_CUT}; or [x] for a single one."
        )
    if isinstance(source, Mapping) or (isinstance(source, tuple) and _is_one_batch(source)):
        raise TrainingError(
            f"{who} goes through batches; found the arrays themselves, {told(source)}. Cut them into batches, {_CUT}; or"
            " [batch] for a single one."
        )
    if not isinstance(source, Iterable):
        raise TrainingError(f"{who} goes through batches: a Dataset, a list, a function of the epoch; found {source!r}")
    return _batched(source) if isinstance(source, Dataset) else source


def _is_one_batch(parts: tuple[Any, ...]) -> bool:
    """Whether a tuple is the parts of a batch (inputs, labels) rather than batches: arrays that differ in kind."""
    return all(map(_is_array, parts)) and len({(tuple(a.shape[1:]), a.ndim, a.dtype) for a in parts}) > 1


def _batched(source: Dataset) -> Iterator[Any]:
    for element in source:
        checked_element(element)
        yield element


def checked_element(element: Tree) -> None:
    """Raises TrainingError if an element of a data set is one example rather than a batch."""
    if any(np.shape(x) == () for x in tree.leaves(element)):
        raise TrainingError(
            f"the data set gives single examples ({told(element)}), a step takes batches: dataset.batch(32)"
        )


def warn_of_wide(batch: Tree, model: Tree) -> None:
    """Warns of a batch in float64 beside parameters that are all narrower: the step computes in float64 then."""
    floats = [x.dtype for x in map(fnp.asarray, tree.leaves(model)) if dtypes.is_inexact(x.dtype)]
    wide = [tree.keystr(p) or "it" for p, x in tree.leaves_with_path(batch) if getattr(x, "dtype", None) == np.float64]
    if wide and all(d.itemsize < 8 for d in floats):
        warnings.warn(
            f"the batches hold float64 ({', '.join(wide)}) beside parameters of {floats[0]}: what meets them is computed in float64, more"
            " slowly. Convert them, x.astype('float32'), or train in float64: layers take dtype='float64'.",
            TrainingWarning,
            stacklevel=7,
        )


def strings_way_out(batch: Tree) -> str:
    """What to do about text and objects in a batch; "" where there are none."""
    odd = [tree.keystr(p) for p, x in tree.leaves_with_path(batch) if np.asarray(x).dtype.kind in "OSU"]
    if not odd:
        return ""
    return (
        f" {', '.join(odd) or 'batch'} is no array of numbers. Labels that are names are numbered:"
        " classes, labels = np.unique(labels, return_inverse=True)."
    )


# ------------------------------------------------------------------------------------------------- options


def checked_epochs(epochs: Any) -> int:
    """``epochs``, a number of passes."""
    try:
        count = operator.index(epochs)
    except TypeError:
        count = -1
    if count < 0:
        raise TrainingError(f"epochs is a number of passes over the data, an int of at least 0; found {epochs!r}")
    return count


def checked_interval(who: str, name: str, n: Any) -> Any:
    """``n``, steps or epochs from one time to the next, or None."""
    if n is None or (isinstance(n, (int, np.integer)) and n >= 1):
        return n
    raise TrainingError(f"{who}: {name} is a number of steps or epochs, at least 1; found {n!r}")


def checked_optimizer(optimizer: Any) -> Any:
    """``optimizer``, if it has the protocol's two functions."""
    if callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None)):
        return optimizer
    hint = " Call it: optim.adam(1e-3)." if callable(optimizer) else " Make one: optim.adam(1e-3), optim.sgd(0.1)."
    raise TrainingError(f"an optimizer has init and update (fx.optim); found {optimizer!r}.{hint}")


def checked_loss(loss: Any, takes: str) -> None:
    """Raises TrainingError unless the loss can be called with these arguments."""
    if not callable(loss):
        raise TrainingError(f"a loss is a function, loss({takes}) -> scalar; found {loss!r}")
    try:
        signature_of(loss).bind(*takes.split(", "))
    except TypeError as error:
        other = " A model with running statistics: Trainer(..., stateful=True)." if "model_state" not in takes else ""
        raise TrainingError(
            f"the loss is called loss({takes}): {error}. Write it so, even where it draws no random numbers.{other}"
        ) from None
    except ValueError:  # a built-in function, which tells no signature
        return


def checked_clip(clip: Any) -> Any:
    """``clip``, a positive number or None."""
    if clip is None or (isinstance(clip, (int, float, np.number)) and clip > 0):
        return clip
    raise TrainingError(f"clip is the greatest norm of the gradient, a positive number, or None; found {clip!r}")


def checked_metrics(metrics: Any) -> None:
    """Raises TrainingError unless these are metrics, or functions, by name."""
    if not isinstance(metrics, Mapping):
        raise TrainingError(f"metrics are given by name: metrics={{'accuracy': Accuracy()}}; found {metrics!r}")
    for name, metric in metrics.items():
        if isinstance(metric, type):
            raise TrainingError(f"metrics[{name!r}] is the class {metric.__name__}; make one: {metric.__name__}(...)")
        if not callable(metric) and not all(hasattr(metric, n) for n in ("init", "update", "compute")):
            raise TrainingError(
                f"metrics[{name!r}] is a metric of fx.metrics, or a function (model, batch); found {metric!r}"
            )


def checked_callbacks(callbacks: Any) -> list[Any]:
    """Callbacks as a list."""
    if not isinstance(callbacks, (Sequence, Iterable)) or isinstance(callbacks, str):
        raise TrainingError(f"callbacks is a list of them; found {callbacks!r}. Write callbacks=[...].")
    found = list(callbacks)
    for c in found:
        if isinstance(c, type):
            raise TrainingError(f"the callback {c.__name__} is a class; make one: {c.__name__}(...)")
        if not all(callable(getattr(c, hook, None)) for hook in ("start", "step", "epoch", "finish", "abort")):
            raise TrainingError(
                f"a callback is a train.Callback; found {c!r}. A function becomes one by train.Call(epoch=function)."
            )
    return found


def checked_model(model: Any) -> Any:
    """``model`` as a tree of arrays."""
    for path, leaf in tree.leaves_with_path(model):
        if not (_is_array(leaf) or isinstance(leaf, (bool, int, float, complex))):
            what = f"the class {leaf.__name__}" if isinstance(leaf, type) else f"a {type(leaf).__name__}"
            at = f" at {tree.keystr(path)}" if path else ""
            hint = (
                " Make one of it."
                if isinstance(leaf, type)
                else " A function has nothing to train."
                if callable(leaf)
                else ""
            )
            raise TrainingError(f"a model is a pytree of arrays (an nn.Module, a dict ...); found {what}{at}.{hint}")
    return tree.map(fnp.asarray, model)


# ------------------------------------------------------------------------------------- what a loss returns


def checked_value(value: Any) -> Any:
    """The value of a loss, a real scalar."""
    if value is None:
        raise TrainingError("the loss returned None: does the function end in return?")
    value = fnp.asarray(value)
    if value.shape != () or not dtypes.is_float(value.dtype):
        raise TrainingError(
            f"the loss is one real number, the mean over the examples; found {value.dtype}{list(value.shape)}."
            + (" Take its mean: fx.numpy.mean(...), or reduction='mean'." if value.shape else "")
        )
    return value


def checked_report(aux: Any) -> dict[str, Any]:
    """What a loss reports beside its value: scalars by name."""
    if not isinstance(aux, dict):
        raise TrainingError(
            f"the second result of a loss, aux, is a dict of what to report; found {type(aux).__name__}."
            " Return (scalar, {'accuracy': accuracy}), or the scalar alone."
        )
    for name, value in aux.items():
        if name in RESERVED:
            raise TrainingError(f"a loss reports {name!r}, a name that the step itself reports under; choose another")
        if fnp.shape(value) != ():
            raise TrainingError(
                f"a loss reports scalars, which are averaged over the epoch; {name!r} has shape {tuple(fnp.shape(value))}."
                " Take its mean; whole outputs are what trainer.predict gives."
            )
    return aux
