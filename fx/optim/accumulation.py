"""Several steps as one, and means of weights over steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .. import lax, tree
from .. import numpy as fnp
from ..errors import TreeError
from .base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    chosen,
    exact,
    incremented,
    new_count,
    own_state,
    required,
    with_extra_args_support,
)
from .conditions import all_finite
from .moments import cast, cast_like, squared_norm, wide_zeros_like, zeros_like

__all__ = [
    "LookaheadParams", "LookaheadState", "MultiSteps", "MultiStepsState", "WeightEmaState", "averaged_weights",
    "lookahead", "skip_large_updates", "skip_not_finite", "slow_weights", "weight_ema",
]  # fmt: skip

Tree = Any


# ------------------------------------------------------------------------------- gradient accumulation


class MultiStepsState(NamedTuple):
    """Gradients gathered since the last step, steps taken, the inner state, the gradients' sum or mean, and what the
    skipping function said last."""

    mini_step: Any
    gradient_step: Any
    inner_opt_state: Tree
    acc_grads: Tree
    skip_state: Tree = ()


def skip_not_finite(updates: Tree, gradient_step: Any, params: Tree) -> tuple[Any, Tree]:
    """For ``MultiSteps``: leaves out gradients with a NaN or an infinity."""
    skip = fnp.logical_not(all_finite(updates))
    wrong = sum((fnp.sum(fnp.logical_not(fnp.isfinite(u))) for u in tree.leaves(updates)), fnp.asarray(0))
    return skip, {"should_skip": skip, "num_not_finite": wrong}


def skip_large_updates(updates: Tree, gradient_step: Any, params: Tree, max_squared_norm: Any) -> tuple[Any, Tree]:
    """For ``MultiSteps`` (by ``functools.partial``): leaves out gradients whose squared norm is not below a bound."""
    norm = squared_norm(updates)
    skip = fnp.logical_not(norm < max_squared_norm)
    return skip, {"should_skip": skip, "norm_squared": norm}


def _never(updates: Tree, gradient_step: Any, params: Tree) -> tuple[Any, Tree]:
    return fnp.asarray(False), ()


class MultiSteps:
    """Gathers the gradients of k batches and lets ``opt`` take one step with their mean: large batches in little memory.

    The updates in between are 0.

    Args:
        opt: the optimizer.
        every_k_schedule: k, or a function from the number of steps taken to k.
        use_grad_mean: False for the sum.
        should_skip_update_fn: ``(updates, gradient_step, params) -> (skip, info)``; gradients for which ``skip`` is true
            do not count, and ``info`` stands in the state.
        accumulator_dtype: dtype of the mean; None for that of the parameters, but float32 for narrower ones. Of complex
            parameters it is complex.

    >>> from fx import optim
    >>> optimizer = MultiSteps(optim.sgd(1.0), every_k_schedule=2)
    >>> state = optimizer.init(fnp.zeros(1))
    >>> for gradient in (1.0, 3.0):
    ...     updates, state = optimizer.update(fnp.asarray([gradient]), state)
    ...     print(updates, bool(optimizer.has_updated(state)))
    [0.] False
    [-2.] True
    """

    def __init__(
        self, opt: GradientTransformation, every_k_schedule: int | Callable[[Any], Any], use_grad_mean: bool = True,
        should_skip_update_fn: Callable[[Tree, Any, Tree], tuple[Any, Tree]] | None = None,
        accumulator_dtype: Any = None,
    ) -> None:  # fmt: skip
        if isinstance(every_k_schedule, int) and every_k_schedule < 1:
            raise TreeError(f"MultiSteps gathers at least one gradient; found every_k_schedule={every_k_schedule}")
        self.inner_opt = with_extra_args_support(opt)
        self._every_k = every_k_schedule if callable(every_k_schedule) else lambda step: every_k_schedule
        self._mean, self._dtype = use_grad_mean, accumulator_dtype
        self._skip = should_skip_update_fn or _never

    def init(self, params: Tree) -> MultiStepsState:
        count, gathered = new_count(), wide_zeros_like(params, self._dtype)
        _, skip_state = self._skip(zeros_like(params), count, params)
        return MultiStepsState(count, count, self.inner_opt.init(params), gathered, skip_state)

    def update(
        self, updates: Tree, state: MultiStepsState, params: Tree = None, **extra: Any
    ) -> tuple[Tree, MultiStepsState]:
        own_state(state, MultiStepsState, "MultiSteps")
        skip, skip_state = self._skip(updates, state.gradient_step, params)
        new_updates, new = self._gathered(updates, state, params, extra)
        if self._skip is not _never:
            new_updates, new = chosen(skip, (zeros_like(updates), state), (new_updates, new))
        return new_updates, new._replace(skip_state=skip_state)

    def _gathered(
        self, updates: Tree, state: MultiStepsState, params: Tree, extra: dict[str, Any]
    ) -> tuple[Tree, Tree]:
        seen = state.mini_step
        add = (lambda g, a: a + (g - a) / (seen + 1)) if self._mean else (lambda g, a: g + a)
        gathered = cast_like(tree.map(add, updates, state.acc_grads), state.acc_grads)
        k = self._every_k(state.gradient_step)
        emit = seen == k - 1

        def step() -> tuple[Tree, Tree]:
            new, inner = self.inner_opt.update(cast_like(gathered, updates), state.inner_opt_state, params, **extra)
            return cast_like(new, updates), cast_like(inner, state.inner_opt_state)

        new_updates, inner = lax.cond(emit, step, lambda: (zeros_like(updates), state.inner_opt_state))
        return new_updates, MultiStepsState(
            (incremented(seen) % k).astype(seen.dtype),
            fnp.where(emit, incremented(state.gradient_step), state.gradient_step),
            inner,
            tree.map(lambda a: fnp.where(emit, fnp.zeros_like(a), a), gathered),
            state.skip_state,
        )

    def has_updated(self, state: MultiStepsState) -> Any:
        """Whether the last ``update`` took a step."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> GradientTransformationExtraArgs:
        """This as a part for ``chain``."""
        return GradientTransformationExtraArgs(self.init, self.update)


# ------------------------------------------------------------------------------------- means of weights


class WeightEmaState(NamedTuple):
    """Steps taken, and the running mean of the weights."""

    count: Any
    ema: Tree


def weight_ema(decay: Any, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    """Keeps a running mean of the weights in the state; the updates pass through. The last of a chain.

    mean <- mean + rate (weights - mean) with rate = 1 - decay, or (1 - decay) / (1 - decay**t) with ``debias``, so that
    the start counts no more than any other step (Polyak, Juditsky, 1992). ``averaged_weights`` takes it out.

    Args:
        accumulator_dtype: dtype of the mean; None for that of the parameters.

    >>> from fx import optim
    >>> optimizer = optim.chain(optim.sgd(1.0), weight_ema(0.5))
    >>> params = fnp.asarray([3.0])
    >>> state = optimizer.init(params)
    >>> for _ in range(2):
    ...     updates, state = optimizer.update(fnp.ones(1), state, params)
    ...     params = optim.apply_updates(params, updates)
    >>> params, averaged_weights(state).round(4)
    (Array([1.], dtype=float32), Array([1.3333], dtype=float32))
    """

    def update(updates: Tree, state: WeightEmaState, params: Tree = None) -> tuple[Tree, Tree]:
        count = incremented(state.count)
        rate = (1 - decay) / (1 - decay ** exact(count)) if debias else 1 - decay
        step = lambda mean, p, u: (mean + rate * (p + u - mean)).astype(mean.dtype)
        mean = tree.map(step, state.ema, required(params, "weight_ema"), updates)
        return updates, WeightEmaState(count, mean)

    start = lambda p: fnp.asarray(p)
    return GradientTransformation(
        lambda params: WeightEmaState(new_count(), cast(tree.map(start, params), accumulator_dtype)), update
    )


def averaged_weights(state: Tree) -> Tree:
    """The running mean that ``weight_ema`` keeps, from the state of an optimizer with one such part.

    Raises:
        TreeError: there is no such part, or there are several.
    """
    return _only(state, WeightEmaState, "averaged_weights", "weight_ema").ema


def _only(state: Tree, kind: type, who: str, what: str) -> Any:
    """The one state of that kind in that of an optimizer."""
    is_one = lambda x: isinstance(x, kind)
    found = [x for x in tree.leaves(state, is_leaf=is_one) if is_one(x)]
    if len(found) != 1:
        raise TreeError(f"{who} takes the state of an optimizer with one {what}; found {len(found)} in it")
    return found[0]


class LookaheadState(NamedTuple):
    """The state of the fast optimizer, its steps since the last synchronisation, and the slow weights, unless these
    stand beside the fast ones in ``LookaheadParams``."""

    fast_state: Tree
    steps_since_sync: Any
    slow: Tree = None


class LookaheadParams(NamedTuple):
    """Fast weights, where gradients are taken, and slow ones, which are the result."""

    fast: Tree
    slow: Tree

    @classmethod
    def init_synced(cls, params: Tree) -> LookaheadParams:
        """Both from the same start."""
        return cls(params, params)


def lookahead(
    fast_optimizer: GradientTransformation, sync_period: int, slow_step_size: Any, reset_state: bool = False
) -> GradientTransformation:
    """Slow weights that follow fast ones every ``sync_period`` steps (Zhang et al., "Lookahead optimizer", 2019).

    The parameters are the fast weights, the slow ones stand in the state: ``slow_weights`` takes them out, and right after
    a synchronisation both are equal. Parameters given as ``LookaheadParams.init_synced(params)`` hold both, as optax's do;
    gradients are those at ``.fast``.

    Args:
        slow_step_size: part of the way that the slow weights go.
        reset_state: start the fast optimizer's state anew at every synchronisation.

    Raises:
        TreeError: ``update`` was called without the parameters, or with others than ``init``.

    >>> from fx import optim
    >>> optimizer = lookahead(optim.sgd(1.0), sync_period=2, slow_step_size=0.5)
    >>> params = fnp.asarray([4.0])
    >>> state = optimizer.init(params)
    >>> for _ in range(3):
    ...     updates, state = optimizer.update(fnp.ones(1), state, params)
    ...     params = optim.apply_updates(params, updates)
    ...     print(params, slow_weights(state))
    [3.] [4.]
    [3.] [3.]
    [2.] [3.]

    With optax's parameters:

    >>> optimizer = lookahead(optim.sgd(1.0), sync_period=1, slow_step_size=0.5)
    >>> params = LookaheadParams.init_synced(fnp.asarray([4.0]))
    >>> updates, state = optimizer.update(fnp.asarray([2.0]), optimizer.init(params), params)
    >>> optim.apply_updates(params, updates)
    LookaheadParams(fast=Array([3.], dtype=float32), slow=Array([3.], dtype=float32))
    """
    if sync_period < 1:
        raise TreeError(f"lookahead: the period of synchronisation is at least 1; found {sync_period}")

    def init(params: Tree) -> LookaheadState:
        if isinstance(params, LookaheadParams):
            return LookaheadState(fast_optimizer.init(params.fast), new_count())
        return LookaheadState(fast_optimizer.init(params), new_count(), tree.map(fnp.asarray, params))

    def update(updates: Tree, state: LookaheadState, params: Tree = None) -> tuple[Tree, Tree]:
        own_state(state, LookaheadState, "lookahead")
        both = isinstance(required(params, "lookahead"), LookaheadParams)
        if both != (state.slow is None):
            raise TreeError(
                "lookahead: update takes parameters of the kind that init was given, either LookaheadParams"
                " (with gradients at .fast) or the weights alone"
            )
        given, behind = params if both else (params, state.slow)
        updates, fast_state = fast_optimizer.update(updates, state.fast_state, given)
        sync = state.steps_since_sync == sync_period - 1
        ahead = tree.map(lambda f, u, s: f + u - s, given, updates, behind)
        slow = tree.map(lambda d: fnp.where(sync, slow_step_size * d, fnp.zeros_like(d)), ahead)
        fast = tree.map(lambda u, d: u - fnp.where(sync, (1 - slow_step_size) * d, fnp.zeros_like(d)), updates, ahead)
        if reset_state:
            fast_state = chosen(sync, fast_optimizer.init(given), fast_state)
        steps = ((state.steps_since_sync + 1) % sync_period).astype("int32")
        if both:
            return LookaheadParams(fast, slow), LookaheadState(fast_state, steps)
        slow = tree.map(lambda s, d: (s + d).astype(s.dtype), behind, slow)
        return fast, LookaheadState(fast_state, steps, slow)

    return GradientTransformation(init, update)


def slow_weights(state: Tree) -> Tree:
    """The slow weights that ``lookahead`` keeps, from the state of an optimizer with one such part.

    Raises:
        TreeError: there is no such part, or there are several.
    """
    return _only(state, LookaheadState, "slow_weights", "lookahead").slow
