"""Transformations that divide by what past gradients say about the size of the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import numpy as fnp
from .. import tree
from ..errors import TreeError
from .base import GradientTransformation, incremented, new_count
from .moments import cast, cast_like, full_like, looked_ahead, moment, squared, unbiased, widest, zeros_like

__all__ = [
    "ScaleByAdaDeltaState", "ScaleByAdamState", "ScaleByAmsgradState", "ScaleByBeliefState", "ScaleByLionState",
    "ScaleByRStdDevState", "ScaleByRStdDevWithCountState", "ScaleByRmsState", "ScaleByRmsWithCountState",
    "ScaleByRssState", "scale_by_adadelta", "scale_by_adam", "scale_by_adamax", "scale_by_amsgrad",
    "scale_by_belief", "scale_by_lion", "scale_by_radam", "scale_by_rms", "scale_by_rss",
    "scale_by_stddev", "scale_by_yogi",
]  # fmt: skip

Tree = Any


class ScaleByAdamState(NamedTuple):
    """Steps taken, and the running means of the gradient and of its square."""

    count: Any
    mu: Tree
    nu: Tree


class ScaleByAmsgradState(NamedTuple):
    """Steps taken, the running means of the gradient and of its square, and the largest of the latter."""

    count: Any
    mu: Tree
    nu: Tree
    nu_max: Tree


class ScaleByBeliefState(NamedTuple):
    """Steps taken, the running mean of the gradient, and of the square of its surprise."""

    count: Any
    mu: Tree
    nu: Tree


class ScaleByLionState(NamedTuple):
    """Steps taken, and the running mean of the gradient."""

    count: Any
    mu: Tree


class ScaleByRmsState(NamedTuple):
    """The running mean of the square of the gradient."""

    nu: Tree


class ScaleByRmsWithCountState(NamedTuple):
    """Steps taken, and the running mean of the square of the gradient."""

    count: Any
    nu: Tree


class ScaleByRStdDevState(NamedTuple):
    """The running means of the gradient and of its square."""

    mu: Tree
    nu: Tree


class ScaleByRStdDevWithCountState(NamedTuple):
    """Steps taken, and the running means of the gradient and of its square."""

    count: Any
    mu: Tree
    nu: Tree


class ScaleByRssState(NamedTuple):
    """The sum of the squares of all gradients."""

    sum_of_squares: Tree


class ScaleByAdaDeltaState(NamedTuple):
    """The running means of the squares of the gradient and of the update."""

    e_g: Tree
    e_x: Tree


# ------------------------------------------------------------------------------------------ of Adam's kind


def _adam_start(mu_dtype: Any = None, fill: Any = 0.0) -> Callable[[Tree], ScaleByAdamState]:
    def init(params: Tree) -> ScaleByAdamState:
        start = lambda dtype: tree.map(lambda p: fnp.full_like(p, fill, dtype=dtype), params)
        return ScaleByAdamState(new_count(), start(mu_dtype), start(None))

    return init


def _ratio(mean: Tree, square: Tree, eps: Any, eps_root: Any) -> Tree:
    return tree.map(lambda m, v: m / (fnp.sqrt(v + eps_root) + eps), mean, square)


def scale_by_adam(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None, *, nesterov: bool = False
) -> GradientTransformation:  # fmt: skip
    """Adam without its learning rate::

        mu <- b1 mu + (1 - b1) g          mu' = mu / (1 - b1**t)
        nu <- b2 nu + (1 - b2) g**2       nu' = nu / (1 - b2**t)
        update = mu' / (sqrt(nu' + eps_root) + eps)

    Args:
        mu_dtype: dtype of mu in the state; None for that of the parameters.
        nesterov: use the running mean as it will be after the next step (Dozat, 2016).

    Source: Kingma, Ba, "Adam: a method for stochastic optimization", 2015.
    """

    def update(updates: Tree, state: ScaleByAdamState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        mu = moment(updates, state.mu, b1)
        nu = moment(updates, state.nu, b2, squared)
        step = _ratio(looked_ahead(mu, updates, b1, count, nesterov), unbiased(nu, b2, count), eps, eps_root)
        return step, ScaleByAdamState(count, cast(mu, mu_dtype), cast_like(nu, state.nu))

    return GradientTransformation(_adam_start(mu_dtype), update)


def scale_by_amsgrad(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, mu_dtype: Any = None,
    bias_correction_mu: bool = True, bias_correction_nu: bool = True,
) -> GradientTransformation:  # fmt: skip
    """Adam that divides by the largest nu so far (Reddi et al., "On the convergence of Adam and beyond", 2018)."""

    def init(params: Tree) -> ScaleByAmsgradState:
        return ScaleByAmsgradState(
            new_count(), zeros_like(params, mu_dtype), zeros_like(params, None), zeros_like(params, None)
        )

    def update(updates: Tree, state: ScaleByAmsgradState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        mu = moment(updates, state.mu, b1)
        nu = moment(updates, state.nu, b2, squared)
        mean = unbiased(mu, b1, count) if bias_correction_mu else mu
        largest = tree.map(fnp.maximum, state.nu_max, unbiased(nu, b2, count) if bias_correction_nu else nu)
        return _ratio(mean, largest, eps, eps_root), ScaleByAmsgradState(count, cast(mu, mu_dtype), nu, largest)

    return GradientTransformation(init, update)


def scale_by_adamax(b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8) -> GradientTransformation:
    """Adam with the decaying maximum in place of the root mean square: nu <- max(|g| + eps, b2 nu) (Kingma, Ba, 2015, 7.1)."""

    def update(updates: Tree, state: ScaleByAdamState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        mu = moment(updates, state.mu, b1)
        nu = tree.map(lambda g, v: fnp.maximum(fnp.abs(g) + eps, b2 * v), updates, state.nu)
        step = tree.map(lambda m, v: m / v, unbiased(mu, b1, count), nu)
        return step, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(_adam_start(), update)


def scale_by_belief(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-16, eps_root: Any = 1e-16, *, nesterov: bool = False
) -> GradientTransformation:
    """Adam that divides by how far gradients stray from their mean: nu of (g - mu)**2 (Zhuang et al., "AdaBelief", 2020)."""

    def init(params: Tree) -> ScaleByBeliefState:
        return ScaleByBeliefState(new_count(), zeros_like(params), zeros_like(params))

    def update(updates: Tree, state: ScaleByBeliefState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        mu = moment(updates, state.mu, b1)
        surprise = tree.map(lambda g, m: g - m, updates, mu)
        nu = tree.map(lambda v: v + eps_root, moment(surprise, state.nu, b2, squared))
        step = _ratio(looked_ahead(mu, updates, b1, count, nesterov), unbiased(nu, b2, count), eps, 0.0)
        return step, ScaleByBeliefState(count, mu, nu)

    return GradientTransformation(init, update)


def scale_by_yogi(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-3, eps_root: Any = 0.0, initial_accumulator_value: Any = 1e-6
) -> GradientTransformation:
    """Adam whose nu moves by a bounded amount: nu <- nu - (1 - b2) sign(nu - g**2) g**2 (Zaheer et al., "Yogi", 2018)."""

    def update(updates: Tree, state: ScaleByAdamState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        mu = moment(updates, state.mu, b1)
        nu = tree.map(lambda g, v: v - (1 - b2) * fnp.sign(v - squared(g)) * squared(g), updates, state.nu)
        return _ratio(unbiased(mu, b1, count), unbiased(nu, b2, count), eps, eps_root), ScaleByAdamState(count, mu, nu)

    return GradientTransformation(_adam_start(fill=initial_accumulator_value), update)


def scale_by_radam(
    b1: Any = 0.9, b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0, threshold: Any = 5.0, *, nesterov: bool = False
) -> GradientTransformation:  # fmt: skip
    """Adam that does not divide until nu is known well enough (Liu et al., "On the variance of the adaptive learning rate", 2020)."""
    longest = 2.0 / (1.0 - b2) - 1.0

    def update(updates: Tree, state: ScaleByAdamState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        mu = moment(updates, state.mu, b1)
        nu = moment(updates, state.nu, b2, squared)
        mean, power = looked_ahead(mu, updates, b1, count, nesterov), b2 ** count.astype(widest(updates))
        length = longest - 2 * count * power / (1 - power)
        known = length >= threshold
        rho = fnp.where(known, length, threshold)  # no root of a negative number, not even in a branch not taken
        r = fnp.sqrt((rho - 4.0) * (rho - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * rho))
        step = tree.map(
            lambda divided, m: fnp.where(known, r.astype(m.real.dtype) * divided, m),
            _ratio(mean, unbiased(nu, b2, count), eps, eps_root),
            mean,
        )
        return step, ScaleByAdamState(count, mu, nu)

    return GradientTransformation(_adam_start(), update)


_LION_MODES: dict[str, Callable[[Any, float], Any]] = {
    "hard": lambda x, beta: fnp.sign(x),
    "smooth": lambda x, beta: fnp.tanh(beta * x),
    "refined": lambda x, beta: fnp.where(fnp.abs(x) < 1.0, x, fnp.sign(x)),
}


def scale_by_lion(
    b1: Any = 0.9, b2: Any = 0.99, mu_dtype: Any = None, *, mode: str = "hard", smooth_beta: float = 1.0
) -> GradientTransformation:
    """The sign of (1 - b1) g + b1 mu, where mu <- b2 mu + (1 - b2) g (Chen et al., "Symbolic discovery", 2023).

    Args:
        mode: ``"hard"`` the sign, ``"smooth"`` tanh(smooth_beta x), ``"refined"`` x where |x| < 1, else its sign.
    """
    if mode not in _LION_MODES:
        raise TreeError(f"scale_by_lion: mode is one of {sorted(_LION_MODES)}; found {mode!r}")
    sign = _LION_MODES[mode]

    def update(updates: Tree, state: ScaleByLionState, params: Tree = None) -> tuple[Tree, Tree]:
        step = tree.map(lambda g, m: sign((1.0 - b1) * g + b1 * m, smooth_beta), updates, state.mu)
        return step, ScaleByLionState(incremented(state.count), cast(moment(updates, state.mu, b2), mu_dtype))

    return GradientTransformation(lambda params: ScaleByLionState(new_count(), zeros_like(params, mu_dtype)), update)


# ------------------------------------------------------------------------------- of root-mean-square's kind


def _inverse_root(square: Any, eps: Any, eps_in_sqrt: bool) -> Any:
    return 1 / fnp.sqrt(square + eps) if eps_in_sqrt else 1 / (fnp.sqrt(square) + eps)


def scale_by_rms(
    decay: Any = 0.9, eps: Any = 1e-8, initial_scale: Any = 0.0, eps_in_sqrt: bool = True, bias_correction: bool = False
) -> GradientTransformation:
    """Divides by the root of the running mean of squares: g / sqrt(nu + eps) (Tieleman, Hinton, 2012).

    Args:
        eps_in_sqrt: False for g / (sqrt(nu) + eps).
        bias_correction: nu over 1 - decay**t.
    """

    def init(params: Tree) -> Tree:
        nu = full_like(params, initial_scale)
        return ScaleByRmsWithCountState(new_count(), nu) if bias_correction else ScaleByRmsState(nu)

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        nu = square = moment(updates, state.nu, decay, squared)
        new: Any = ScaleByRmsState(nu)
        if bias_correction:
            new = ScaleByRmsWithCountState(incremented(state.count), nu)
            square = unbiased(nu, decay, new.count)
        return tree.map(lambda g, v: _inverse_root(v, eps, eps_in_sqrt) * g, updates, square), new

    return GradientTransformation(init, update)


def scale_by_stddev(
    decay: Any = 0.9, eps: Any = 1e-8, initial_scale: Any = 0.0, eps_in_sqrt: bool = True, bias_correction: bool = False
) -> GradientTransformation:
    """Divides by the running standard deviation: g / sqrt(nu - mu**2 + eps) (Graves, 2013)."""

    def init(params: Tree) -> Tree:
        mu, nu = zeros_like(params), full_like(params, initial_scale)
        return ScaleByRStdDevWithCountState(new_count(), mu, nu) if bias_correction else ScaleByRStdDevState(mu, nu)

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        mu = mean = moment(updates, state.mu, decay)
        nu = square = moment(updates, state.nu, decay, squared)
        new: Any = ScaleByRStdDevState(mu, nu)
        if bias_correction:
            new = ScaleByRStdDevWithCountState(incremented(state.count), mu, nu)
            mean, square = unbiased(mu, decay, new.count), unbiased(nu, decay, new.count)
        step = tree.map(lambda g, m, v: _inverse_root(v - squared(m), eps, eps_in_sqrt) * g, updates, mean, square)
        return step, new

    return GradientTransformation(init, update)


def scale_by_rss(initial_accumulator_value: Any = 0.1, eps: Any = 1e-7) -> GradientTransformation:
    """Divides by the root of the sum of all squares (Duchi et al., "Adaptive subgradient methods", 2011)."""

    def update(updates: Tree, state: ScaleByRssState, params: Tree = None) -> tuple[Tree, Tree]:
        total = tree.map(lambda g, s: squared(g) + s, updates, state.sum_of_squares)
        step = tree.map(lambda g, s: fnp.where(s > 0, 1 / fnp.sqrt(s + eps), 0.0) * g, updates, total)
        return step, ScaleByRssState(total)

    return GradientTransformation(lambda params: ScaleByRssState(full_like(params, initial_accumulator_value)), update)


def scale_by_adadelta(rho: Any = 0.9, eps: Any = 1e-6) -> GradientTransformation:
    """Multiplies by rms(past updates) / rms(past gradients), so that units agree (Zeiler, "Adadelta", 2012)."""

    def update(updates: Tree, state: ScaleByAdaDeltaState, params: Tree = None) -> tuple[Tree, Tree]:
        e_g = moment(updates, state.e_g, rho, fnp.square)
        step = tree.map(lambda g, s, x: fnp.sqrt(x + eps) / fnp.sqrt(s + eps) * g, updates, e_g, state.e_x)
        return step, ScaleByAdaDeltaState(e_g, moment(step, state.e_x, rho, fnp.square))

    return GradientTransformation(lambda params: ScaleByAdaDeltaState(zeros_like(params), zeros_like(params)), update)
