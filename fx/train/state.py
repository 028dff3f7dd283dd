"""What training carries from step to step, and which part of a model is trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn, random, tree
from .. import numpy as fnp
from ..errors import TrainingError, TrainingWarning, TreeError
from .checks import checked_model, checked_optimizer
from .precision import ScaleState

__all__ = ["TrainState", "batch_size", "copied", "init_state", "trained_part"]

Tree = Any
Trainable = Tree | Callable[[Tree], Tree] | None


@tree.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and writes: a pytree, so it is saved, copied and compared like any other.

    Args:
        model: any pytree; its floating leaves are trained.
        optimizer: the state of the optimizer.
        key: the key of the run; step ``n`` draws from ``random.fold_in(key, n)``.
        step: the number of steps taken, int32 of shape ().
        model_state: what a model updates outside of its gradient (running statistics); None if there is none.
        scale: the loss scale of mixed precision; None if there is none.
    """

    model: Tree
    optimizer: Tree
    key: Any
    step: Any
    model_state: Tree = None
    scale: ScaleState | None = None


def copied(values: Tree) -> Tree:
    """The same tree with arrays of its own: a step gives the memory of its state away, and may give each once."""
    leaves, structure = tree.flatten(values)
    return tree.unflatten(structure, [fnp.array(np.array(x)) for x in leaves])


def trained_part(model: Tree, trainable: Trainable = None) -> Tree:
    """For each leaf of the model, whether it is trained: the filter for ``fx.nn.partition``.

    Args:
        trainable: a tree of bools that is a prefix of the model's (``{"features": False, "head": True}``), or a function
            from the model to one; None is ``fx.nn.trainable``: every float that is not frozen.

    Raises:
        TreeError: the mask does not fit the model, or nothing is left to train.
    """
    floats = tree.map(nn.is_inexact_array, model)
    chosen = nn.trainable if trainable is None else trainable
    given = chosen(model) if callable(chosen) and not isinstance(chosen, nn.Module) else chosen
    for path, leaf in tree.leaves_with_path(given):
        if not isinstance(leaf, (bool, np.bool_)):
            raise TreeError(
                f"trainable is a tree of bools, or a function from the model to one; found {type(leaf).__name__} at"
                f" {tree.keystr(path) or 'its top'}. nn.path_mask(model, 'head/*') is such a tree; nn.freeze(model,"
                " 'layers/0/*') is a model that says itself what is trained: give that to fit, without trainable."
            )
    wanted = tree.broadcast_prefix(given, model, what="the mask of what to train")
    mask = tree.unflatten(tree.structure(model), [bool(w) and f for w, f in zip(wanted, tree.leaves(floats))])
    if not any(tree.leaves(mask)):
        raise TreeError(
            f"nothing to train: of {len(wanted)} leaves {sum(tree.leaves(floats))} are arrays of floats, and the mask keeps"
            " none of them. A model is a pytree of float arrays; `trainable` marks what is trained with True."
        )
    return mask


def init_state(
    model: Tree, optimizer: Any, key: Any = 0, *, trainable: Trainable = None, model_state: Tree = None,
    precision: Any = None,
) -> TrainState:  # fmt: skip
    """The state before the first step, with arrays of its own.

    An array of two or more axes that is two parameters is a ``TrainingWarning``: they are trained apart.

    Args:
        model: any pytree with float leaves.
        optimizer: ``init`` and ``update`` in optax's protocol (``fx.optim``).
        key: a key of ``fx.random``, or a seed.
        trainable: which leaves are trained; see ``make_step``.
        model_state: running statistics and the like.
        precision: the ``Precision`` of the step; it may keep a loss scale here.

    >>> from fx import optim
    >>> state = init_state({"w": np.ones(3, np.float32)}, optim.sgd(0.1), key=7)
    >>> int(state.step), state.model["w"].shape
    (0, (3,))
    """
    model = checked_model(model)
    checked_optimizer(optimizer)
    trained, _ = nn.partition(model, trained_part(model, trainable))
    _warn_of_shared(trained)
    key = random.key(key) if isinstance(key, (int, np.integer)) else key
    if not hasattr(key, "dtype"):
        raise TrainingError(f"the key of a run is a key of fx.random, or a seed; found {key!r}")
    scale = None if precision is None else precision.init()
    return copied(TrainState(model, optimizer.init(trained), key, np.zeros((), np.int32), model_state, scale))


def _warn_of_shared(trained: Tree) -> None:
    """Warns of an array that is two parameters: as values of a tree they are trained apart."""
    places: dict[int, str] = {}
    for path, leaf in tree.leaves_with_path(trained):
        if np.ndim(leaf) < 2:  # a bias of zeros may be used twice with no thought of sharing it
            continue
        here = tree.keystr(path, simple=True, separator="/")
        first = places.setdefault(id(leaf), here)
        if first != here:
            warnings.warn(
                f"{first} and {here} are one array, and two parameters: a model is a tree of values, and each is trained by itself."
                " To share it, keep it in one place and use it in both (nn.Embedding.attend, or a method of your module);"
                " two that begin alike are a copy: fx.numpy.array(x).",
                TrainingWarning,
                stacklevel=2,
            )


def batch_size(batch: Tree) -> int:
    """Examples in a batch: the length of the first axis, which its arrays share.

    Raises:
        TrainingError: there is no array, or one has another length.
    """
    sizes = {np.shape(x)[:1] for x in tree.leaves(batch)}
    if len(sizes) != 1 or () in sizes:
        shapes = ", ".join(f"{tree.keystr(p) or 'batch'}: {np.shape(x)}" for p, x in tree.leaves_with_path(batch))
        raise TrainingError(
            f"the arrays of a batch share their first axis, the examples; found {shapes or 'no array at all'}."
            " Put what is no example (a mask, a temperature) into the model or the loss."
        )
    return int(sizes.pop()[0])
