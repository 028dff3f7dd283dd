"""Muon: momentum whose matrices are made orthogonal before the step (Jordan et al., 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import numpy as fnp
from .. import tree
from ..api import vmap
from ..errors import ShapeError, TreeError
from . import elsewhere
from .base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Schedule,
    chain,
    incremented,
    new_count,
    stateless,
)
from .moments import cast, looked_ahead, moment, widest, zeros_like
from .optimizers import adamw
from .scaling import add_decayed_weights, scale_by_learning_rate
from .selecting import MaskedNode, partition, resolved

__all__ = [
    "MuonDimensionNumbers",
    "MuonState",
    "muon",
    "orthogonalize_via_newton_schulz",
    "scale_by_muon",
    "scale_by_shape",
]

Tree = Any

NS_COEFFS: dict[str, Any] = {
    "standard": (3.4445, -4.7750, 2.0315),
    "dion": (
        (4.0848, -6.8946, 2.9270),
        (3.9505, -6.3029, 2.6377),
        (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ),
}
"""Coefficients a, b, c of the iteration x <- a x + b (x x') x + c (x x')**2 x: of every step, or of each in turn."""


class MuonDimensionNumbers(NamedTuple):
    """Which axes of a weight are summed over, and which are its outputs; the others are batches of matrices."""

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class MuonState(NamedTuple):
    """Steps taken, the running mean of the gradient, and the coefficients of the iteration."""

    count: Any
    mu: Tree
    ns_coeffs: Any


def _is_numbers(x: Any) -> bool:
    return isinstance(x, MuonDimensionNumbers)


def _axes(x: Any, numbers: MuonDimensionNumbers) -> tuple[tuple[int, ...], tuple[int, ...]]:
    several = lambda a: (a,) if isinstance(a, int) else tuple(a)
    first, second = [tuple(i % x.ndim for i in several(axis)) if x.ndim >= 2 else () for axis in numbers]
    if x.ndim < 2 or set(first) & set(second):
        raise ShapeError(
            f"muon takes weights of two axes or more, with different reduction and output axes; found shape {x.shape} and"
            f" {numbers}; give the other parameters to Adam (optim.muon does so with all that are no matrices)"
        )
    return first, second


def _matrices(x: Any, numbers: MuonDimensionNumbers) -> tuple[Any, Callable[[Any], Any]]:
    """The weight as (batch, reduction, output), and the way back."""
    reduction, output = _axes(x, numbers)
    batch = tuple(i for i in range(x.ndim) if i not in reduction + output)
    order = batch + reduction + output
    size = lambda axes: math.prod(x.shape[i] for i in axes)
    unfolded = tuple(x.shape[i] for i in order)
    back = tuple(sorted(range(x.ndim), key=lambda i: order[i]))
    flat = x.transpose(order).reshape(size(batch), size(reduction), size(output))
    return flat, lambda y: y.reshape(unfolded).transpose(back)


def _first_scales(gram: Any, preconditioning: str, eps: Any) -> Any:
    """The scale of each row before the first step, from x x'."""
    if preconditioning == "aol":
        return (1 / fnp.sqrt(fnp.clip(fnp.abs(gram).sum(axis=-1), eps)))[:, None]
    return (1 / fnp.sqrt(fnp.clip(fnp.sqrt(fnp.sum(fnp.abs(gram) ** 2)), eps))).reshape(1, 1)


def _orthogonal(x: Any, coefficients: list[Any], preconditioning: str, eps: Any) -> Any:
    if x.shape[0] > x.shape[1]:
        return _orthogonal(x.T, coefficients, preconditioning, eps).T
    if preconditioning in ("frobenius", "spectral"):
        x = x / (fnp.linalg.norm(x, ord="fro" if preconditioning == "frobenius" else 2) + eps)
    for i, (a, b, c) in enumerate(coefficients):
        gram = x @ x.T.conj()
        if i == 0 and preconditioning in ("aol", "schatten"):
            scales = _first_scales(gram, preconditioning, 1e-8)
            x, gram = x * scales, gram * scales * scales.T
        x = a * x + (b * gram + (c * gram) @ gram) @ x
    return x


def orthogonalize_via_newton_schulz(
    x: Any, ns_coeffs: Any, ns_steps: int = 5, preconditioning: str = "frobenius", eps: Any = 1e-8,
    dimension_numbers: MuonDimensionNumbers | None = None,
) -> Any:  # fmt: skip
    """About the nearest orthogonal matrix, U V' of x = U S V', by a polynomial iteration of products alone.

    Args:
        x: (m, n), or any weight with ``dimension_numbers``.
        ns_coeffs: (3,) for every step, or (steps, 3).
        ns_steps: number of steps.
        preconditioning: how x is scaled at first: by its ``"frobenius"`` or ``"spectral"`` norm, or by x x' as in
            ``"aol"`` (row sums) or ``"schatten"``.
        eps: added to the norm.

    >>> q = orthogonalize_via_newton_schulz(fnp.asarray([[3.0, 1.0], [0.0, 2.0]]), fnp.asarray(NS_COEFFS["standard"]))
    >>> bool(fnp.abs(q @ q.T - fnp.eye(2)).max() < 0.4)
    True
    """
    if preconditioning not in ("frobenius", "spectral", "aol", "schatten"):
        raise TreeError(f"muon: preconditioning is frobenius, spectral, aol or schatten; found {preconditioning!r}")
    if x.ndim != 2 and not _is_numbers(dimension_numbers):
        raise ShapeError(f"a weight of shape {x.shape} needs dimension_numbers=MuonDimensionNumbers(...)")
    if ns_coeffs.ndim not in (1, 2) or ns_coeffs.shape[-1] != 3:
        raise ShapeError(f"the coefficients have shape (3,) or (steps, 3); found {ns_coeffs.shape}")
    rows = [ns_coeffs] * ns_steps if ns_coeffs.ndim == 1 else [ns_coeffs[i] for i in range(len(ns_coeffs))]
    coefficients = [tuple(row[i].astype(x.dtype) for i in range(3)) for row in rows]
    numbers = MuonDimensionNumbers() if x.ndim == 2 else dimension_numbers
    flat, back = _matrices(x, numbers)  # type: ignore[arg-type]
    return back(vmap(lambda m: _orthogonal(m, coefficients, preconditioning, eps))(flat))


Numbers = MuonDimensionNumbers | Tree | Callable[[Tree], Tree] | None


def _numbers_of(updates: Tree, given: Numbers) -> Tree:
    """Dimension numbers for every leaf of the updates."""
    given = resolved(given, updates)
    if given is None or _is_numbers(given):
        return tree.map(lambda u: given or MuonDimensionNumbers(), updates)
    return given


def scale_by_muon(
    ns_coeffs: Any = NS_COEFFS["standard"], ns_steps: int = 5, beta: Any = 0.95, eps: Any = 1e-8, mu_dtype: Any = None, *,
    nesterov: bool = True, adaptive: bool = False, preconditioning: str = "frobenius",
    weight_dimension_numbers: Numbers = None,
) -> GradientTransformation:  # fmt: skip
    """The running mean of the gradient, made orthogonal; see ``muon``.

    Args:
        adaptive: multiply by the inner product of the mean and its orthogonal factor.
        weight_dimension_numbers: of all leaves, or a tree of them, or a function from updates to it.
    """

    def init(params: Tree) -> MuonState:
        coefficients = fnp.asarray(ns_coeffs, widest(params))
        if coefficients.ndim not in (1, 2) or coefficients.shape[-1] != 3:
            raise ShapeError(f"muon: ns_coeffs have shape (3,) or (steps, 3); found {coefficients.shape}")
        if coefficients.ndim == 2 and len(coefficients) > ns_steps:
            raise ShapeError(f"muon: ns_coeffs are for {len(coefficients)} steps, ns_steps is {ns_steps}")
        return MuonState(new_count(), zeros_like(params, mu_dtype), coefficients)

    def update(updates: Tree, state: MuonState, params: Tree = None) -> tuple[Tree, Tree]:
        count, mu = incremented(state.count), moment(updates, state.mu, beta)
        mean = looked_ahead(mu, updates, beta, count, nesterov)

        def leaf(m: Any, numbers: Any) -> Any:
            return orthogonalize_via_newton_schulz(m, state.ns_coeffs, ns_steps, preconditioning, eps, numbers)

        step = tree.map(leaf, mean, _numbers_of(updates, weight_dimension_numbers))
        if adaptive:
            step = tree.map(lambda m, s: fnp.sum(m.conj() * s) * s, mean, step)
        return step, MuonState(count, cast(mu, mu_dtype), state.ns_coeffs)

    return GradientTransformation(init, update)


def scale_by_shape(weight_dimension_numbers: Numbers = None, consistent_rms: Any = None) -> GradientTransformation:
    """Multiplies by sqrt(max(1, outputs / inputs)), or by sqrt(max(outputs, inputs)) consistent_rms if that is given."""

    def leaf(u: Any, numbers: MuonDimensionNumbers) -> Any:
        fan_in, fan_out = (math.prod(u.shape[i] for i in axes) for axes in _axes(u, numbers))
        if consistent_rms is None:
            return math.sqrt(max(1, fan_out / fan_in)) * u
        return math.sqrt(max(fan_in, fan_out)) * consistent_rms * u

    return stateless(lambda updates, params: tree.map(leaf, updates, _numbers_of(updates, weight_dimension_numbers)))


@elsewhere.optimizer
def muon(
    learning_rate: Any | Schedule, ns_coeffs: Any = NS_COEFFS["standard"], ns_steps: int = 5, beta: Any = 0.95,
    eps: Any = 1e-8, weight_decay: Any = 0.0, weight_decay_mask: Any = None, mu_dtype: Any = None, *,
    nesterov: bool = True, adaptive: bool = False, preconditioning: str = "frobenius", adam_b1: Any = 0.9,
    adam_b2: Any = 0.999, adam_eps_root: Any = 0.0, adam_weight_decay: Any = 0.0,
    adam_learning_rate: Any | Schedule | None = None, muon_weight_dimension_numbers: Numbers = None,
    consistent_rms: Any = None,
) -> GradientTransformationExtraArgs:  # fmt: skip
    """Momentum made orthogonal, for matrices; Adam with weight decay for all other parameters.

    Args:
        learning_rate: a number, or a function of the number of steps taken.
        ns_coeffs: coefficients of the iteration (see ``orthogonalize_via_newton_schulz``), or ``"standard"``, ``"dion"``.
        beta: decay of the running mean of the gradient.
        adam_learning_rate: for the other parameters; by default the same.
        muon_weight_dimension_numbers: tree (or function from parameters to it) of ``MuonDimensionNumbers``, None at the
            parameters that are Adam's; by default those of two axes are Muon's.
        consistent_rms: see ``scale_by_shape``.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """
    if isinstance(ns_coeffs, str):
        if ns_coeffs not in NS_COEFFS:
            raise TreeError(f"muon: ns_coeffs by name are {sorted(NS_COEFFS)}; found {ns_coeffs!r}")
        ns_coeffs = NS_COEFFS[ns_coeffs]

    def numbers(params: Tree) -> Tree:
        """Dimension numbers at Muon's parameters, ``MaskedNode`` at Adam's (and at those that are masked already)."""
        if muon_weight_dimension_numbers is None:
            return tree.map(lambda p: MuonDimensionNumbers() if p.ndim == 2 else MaskedNode(), params)
        given = resolved(muon_weight_dimension_numbers, params)
        stop = lambda x: x is None or _is_numbers(x)
        return tree.map(
            lambda n, p: tree.map(lambda leaf: MaskedNode() if n is None else n, p), given, params, is_leaf=stop
        )

    def labels(params: Tree) -> Tree:
        stop = lambda x: _is_numbers(x) or isinstance(x, MaskedNode)
        return tree.map(lambda n: "muon" if _is_numbers(n) else "adam", numbers(params), is_leaf=stop)

    from_muon = chain(
        scale_by_muon(
            ns_coeffs, ns_steps, beta, eps, mu_dtype, nesterov=nesterov, adaptive=adaptive,
            preconditioning=preconditioning, weight_dimension_numbers=numbers,
        ),
        scale_by_shape(numbers, consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    from_adam = adamw(
        rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, weight_decay=adam_weight_decay, nesterov=nesterov
    )
    return partition({"muon": from_muon, "adam": from_adam}, labels)
