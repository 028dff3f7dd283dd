"""Different transformations for different parameters: masks, partitions, frozen parts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from .. import tree
from ..errors import TreeError
from .base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    own_state,
    set_to_zero,
    with_extra_args_support,
)

__all__ = [
    "MaskedNode", "MaskedState", "PartitionState", "freeze", "masked", "multi_transform", "partition",
    "selective_transform",
]  # fmt: skip

Tree = Any


class MaskedNode(NamedTuple):
    """Stands in the trees of a masked transformation for a parameter that it does not see."""


class MaskedState(NamedTuple):
    """The state of the masked transformation."""

    inner_state: Any


class PartitionState(NamedTuple):
    """The states of the transformations, by their labels."""

    inner_states: Mapping[Hashable, Any]


def resolved(tree_or_function: Any, values: Tree) -> Tree:
    """A tree, or the tree that a function makes of ``values``.  (A module is a tree that can be called, so it is the
    leaves that tell: a function is its own only leaf.)"""
    leaves = tree.leaves(tree_or_function)
    is_function = bool(leaves) and all(callable(leaf) for leaf in leaves)
    return tree_or_function(values) if is_function else tree_or_function


def masked(
    inner: GradientTransformation, mask: Tree | Callable[[Tree], Tree], *, mask_compatible_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """Applies ``inner`` where the mask is True; the other updates pass through as they are.

    Args:
        mask: tree of bools in the structure of the parameters, a prefix of one, or a function from parameters (and
            updates) to it. The bools are Python's: they are known while tracing.
        mask_compatible_extra_args: also mask those named arguments of ``update`` that have the updates' structure.

    >>> import fx.numpy as fnp
    >>> from fx import optim
    >>> only_w = masked(optim.scale(-1.0), {"w": True, "b": False})
    >>> g = {"w": fnp.ones(2), "b": fnp.ones(1)}
    >>> only_w.update(g, only_w.init(g))[0]
    {'b': Array([1.], dtype=float32), 'w': Array([-1., -1.], dtype=float32)}
    """
    inner = with_extra_args_support(inner)

    def hidden(values: Tree, bools: Tree) -> Tree:
        tree.flatten_up_to(tree.structure(bools), values, "parameters under the optimizer's mask")
        return tree.map(lambda m, v: v if m else MaskedNode(), bools, values)

    def init(params: Tree) -> MaskedState:
        return MaskedState(inner.init(hidden(params, resolved(mask, params))))

    def update(updates: Tree, state: MaskedState, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        own_state(state, MaskedState, "masked")
        bools = resolved(mask, updates)
        if mask_compatible_extra_args:
            structure = tree.structure(updates)
            extra = {k: hidden(v, bools) if tree.structure(v) == structure else v for k, v in extra.items()}
        seen = None if params is None else hidden(params, bools)
        new, inner_state = inner.update(hidden(updates, bools), state.inner_state, seen, **extra)
        return tree.map(lambda m, n, old: n if m else old, bools, new, updates), MaskedState(inner_state)

    return GradientTransformationExtraArgs(init, update)


def partition(
    transforms: Mapping[Hashable, GradientTransformation],
    param_labels: Tree | Callable[[Tree], Tree],
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs:
    """To every parameter the transformation of its label.

    Args:
        transforms: label -> transformation.
        param_labels: tree of labels in the structure of the parameters, a prefix of one, or a function from parameters
            (and updates) to it.

    Raises:
        TreeError: a label has no transformation.

    >>> import fx.numpy as fnp
    >>> from fx import optim
    >>> optimizer = partition({"fast": optim.sgd(1.0), "slow": optim.sgd(0.5)}, {"w": "fast", "b": "slow"})
    >>> g = {"w": fnp.ones(2), "b": fnp.ones(1)}
    >>> optimizer.update(g, optimizer.init(g))[0]
    {'b': Array([-0.5], dtype=float32), 'w': Array([-1., -1.], dtype=float32)}
    """

    def parts(values: Tree) -> dict[Hashable, GradientTransformation]:
        labels = resolved(param_labels, values)
        if missing := set(tree.leaves(labels)) - set(transforms):
            raise TreeError(
                f"parameters have the labels {sorted(map(str, missing))}, which no transformation has;"
                f" there are {sorted(map(str, transforms))}"
            )
        return {
            name: masked(
                t,
                tree.map(lambda label, name=name: label == name, labels),
                mask_compatible_extra_args=mask_compatible_extra_args,
            )
            for name, t in transforms.items()
        }

    def update(updates: Tree, state: PartitionState, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        own_state(state, PartitionState, "partition")
        states = {}
        for name, part in parts(updates).items():
            updates, states[name] = part.update(updates, state.inner_states[name], params, **extra)
        return updates, PartitionState(states)

    return GradientTransformationExtraArgs(
        lambda params: PartitionState({name: part.init(params) for name, part in parts(params).items()}), update
    )


multi_transform = partition  # optax's older name for it


def freeze(mask: Tree | Callable[[Tree], Tree]) -> GradientTransformationExtraArgs:
    """Updates of zero where the mask is True; the last of a chain."""
    return masked(set_to_zero(), mask)


def selective_transform(optimizer: GradientTransformation, *, freeze_mask: Tree) -> GradientTransformationExtraArgs:
    """``optimizer`` where the mask is False, updates of zero (and no state) where it is True."""
    labels = tree.map(lambda m: "freeze" if m else "train", freeze_mask)
    return partition({"train": optimizer, "freeze": set_to_zero()}, labels)
