"""The step: one compiled function from (state, batch) to (state, what happened)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import lax, nn, optim, random, tree
from .. import numpy as fnp
from ..api import value_and_grad
from ..errors import ShapeError, TrainingError, TreeError
from ..staging import jit
from .checks import checked_clip, checked_loss, checked_optimizer, checked_report, checked_value
from .precision import Precision, precision_of
from .state import Trainable, TrainState, batch_size, trained_part

__all__ = ["make_step", "with_state"]

Tree = Any
Loss = Callable[..., Any]
Step = Callable[[TrainState, Tree], tuple[TrainState, dict[str, Any]]]


def make_step(
    loss: Loss, optimizer: Any, *, trainable: Trainable = None, accumulate: int = 1, clip: float | None = None,
    precision: str | Precision | None = None, guard: bool = True, stateful: bool = False,
) -> Step:  # fmt: skip
    """One step of training as a pure, compiled function: ``state, info = step(state, batch)``.

    The state's memory is donated: the step writes into it, and the state that was passed cannot be used again.
    In ten lines by hand, without the options, it is::

        @fx.jit(donate_argnums=(0, 1))
        def step(model, optimizer_state, batch, key):
            value, gradient = fx.value_and_grad(loss)(model, batch, key)
            updates, optimizer_state = optimizer.update(gradient, optimizer_state, model)
            return optim.apply_updates(model, updates), optimizer_state, value

    Args:
        loss: ``loss(model, batch, key) -> scalar`` or ``(scalar, aux)`` with ``aux`` a dict of what to report.
        optimizer: optax's protocol (``fx.optim``); those that ask for them (``lbfgs``, ``reduce_on_plateau``) are given ``value``,
            ``grad`` and ``value_fn``, of this batch.
        trainable: which leaves of the model are trained: a prefix tree of bools, or a function from the model to one.
        accumulate: the batch is cut into so many equal parts, one after the other in memory; gradients are averaged.
        clip: greatest norm of the whole gradient; a longer one is shortened to it.
        precision: "bfloat16", "float16" or a ``Precision``; None computes in the dtype of the parameters.
        guard: a step whose loss or gradient is not finite leaves model and optimizer as they were, and says so in
            ``info["finite"]``.
        stateful: ``loss(model, model_state, batch, key) -> (scalar, model_state)`` or ``(scalar, model_state, aux)``,
            for models with running statistics.

    Returns:
        ``step(state, batch) -> (state, info)`` with ``info["loss"]``, ``info["gradient_norm"]`` (with ``guard`` or
        ``clip``), ``info["finite"]`` (with ``guard``) and what ``aux`` holds.

    Raises:
        ShapeError: a batch cannot be cut into ``accumulate`` parts.
        TrainingError: the loss returned something else.

    >>> import numpy as np
    >>> from fx import optim
    >>> from fx.train import init_state
    >>> loss = lambda model, batch, key: fnp.mean((batch["x"] @ model - batch["y"]) ** 2)
    >>> optimizer = optim.sgd(0.1)
    >>> step, state = make_step(loss, optimizer), init_state(np.zeros(2, np.float32), optimizer)
    >>> batch = {"x": np.eye(2, dtype=np.float32), "y": np.ones(2, np.float32)}
    >>> for _ in range(3):
    ...     state, info = step(state, batch)
    >>> round(float(info["loss"]), 4), state.model.round(3).tolist()
    (0.6561, [0.2709999978542328, 0.2709999978542328])
    """
    mode, clip = precision_of(precision), checked_clip(clip)
    checked_optimizer(optimizer)
    evaluate, optimizer = with_state(loss, stateful), optim.with_extra_args_support(optimizer)

    def step(state: TrainState, batch: Tree) -> tuple[TrainState, dict[str, Any]]:
        trained, rest = nn.partition(state.model, trained_part(state.model, trainable))
        key, scale = random.fold_in(state.key, state.step), state.scale

        def scaled(trained: Tree, model_state: Tree, batch: Tree, key: Any) -> tuple[Any, Any]:
            model = nn.combine(trained, rest)
            if mode is not None:
                model, batch = mode.cast(model), mode.cast(batch)
            value, model_state, aux = evaluate(model, model_state, batch, key)
            value = value if mode is None else value.astype("float32")
            return (value if scale is None else value * scale.scale), (value, model_state, aux)

        gradient_of = _accumulated(value_and_grad(scaled, has_aux=True), accumulate)
        gradient, (value, model_state, aux) = gradient_of(trained, state.model_state, batch, key)
        info = {"loss": value, **aux}
        if scale is not None:
            factor = info["loss_scale"] = scale.scale
            gradient = tree.map(lambda g: g / factor, gradient)
        norm = global_norm(gradient)  # not computed where nothing asks for it
        finite = fnp.isfinite(value) & fnp.isfinite(norm)
        if guard or clip is not None:
            info["gradient_norm"] = norm
        if clip is not None:
            short = fnp.minimum(1.0, clip / fnp.maximum(norm, 1e-30))
            gradient = tree.map(lambda g: g * short.astype(g.dtype), gradient)
        value_fn = lambda trained: scaled(trained, state.model_state, batch, key)[1][0]
        updates, optimizer_state = optimizer.update(
            gradient, state.optimizer, trained, value=value, grad=gradient, value_fn=value_fn
        )
        new = (optim.apply_updates(trained, updates), optimizer_state, model_state)
        if guard:
            info["finite"] = finite
            new = _chosen(finite, new, (trained, state.optimizer, state.model_state))
        moved, optimizer_state, model_state = new
        if scale is not None and mode is not None:
            scale = mode.next(scale, finite)
        return TrainState(nn.combine(moved, rest), optimizer_state, state.key, state.step + 1, model_state, scale), info

    return jit(step, donate_argnums=0)


def global_norm(values: Tree) -> Any:
    """The Euclidean norm of all elements of a tree, in float32 at least."""
    sizes = [fnp.abs(fnp.asarray(x)) for x in tree.leaves(values)]
    squares = [fnp.sum(fnp.square(x.astype(fnp.promote_types(x.dtype, "float32")))) for x in sizes]
    return fnp.sqrt(sum(squares[1:], squares[0]))


def _chosen(finite: Any, new: Tree, old: Tree) -> Tree:
    """The new values where the step was finite, else the old ones."""
    fresh, structure = tree.flatten(new)
    stale, before = tree.flatten(old)
    if structure != before:
        names = (
            "the model that the step returns",
            "the state that the optimizer returns",
            "the model's state that the loss returns",
        )
        for name, n, o in zip(names, new, old):
            _same_structure(name, n, o)
    return tree.unflatten(structure, [fnp.where(finite, n, o) for n, o in zip(fresh, stale)])


def _same_structure(name: str, new: Tree, old: Tree) -> None:
    """Raises TrainingError, with the place where they part, unless both have one structure."""
    try:
        tree.flatten_up_to(tree.structure(old), new, name)
        tree.flatten_up_to(tree.structure(new), old, f"compared with {name}, the one before")
    except TreeError as error:
        raise TrainingError(
            f"a step keeps the structure of what it is given: it may have to leave all as it was. {error}"
        ) from None


def with_state(loss: Loss, stateful: bool) -> Callable[..., tuple[Any, Tree, dict[str, Any]]]:
    """``f(model, model_state, batch, key) -> (scalar, model_state, aux)`` from either kind of loss."""
    checked_loss(loss, "model, model_state, batch, key" if stateful else "model, batch, key")

    def evaluate(model: Tree, model_state: Tree, batch: Tree, key: Any) -> tuple[Any, Tree, dict[str, Any]]:
        found = loss(model, model_state, batch, key) if stateful else loss(model, batch, key)
        parts = found if isinstance(found, tuple) else (found,)
        if stateful and len(parts) in (2, 3):
            value, model_state, aux = parts[0], parts[1], parts[2] if len(parts) == 3 else {}
        elif not stateful and len(parts) in (1, 2):
            value, aux = parts[0], parts[1] if len(parts) == 2 else {}
        else:
            wanted = "(scalar, model_state) or (scalar, model_state, aux)" if stateful else "scalar or (scalar, aux)"
            raise TrainingError(f"the loss returns {wanted}; found a tuple of {len(parts)}")
        return checked_value(value), model_state, checked_report(aux)

    return evaluate


def _accumulated(value_and_gradient: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """``f(trained, model_state, batch, key) -> (gradient, (value, model_state, aux))``, over the parts of the batch in turn."""
    if not isinstance(parts, (int, np.integer)) or parts < 1:
        raise ShapeError(f"accumulate is the number of parts of a batch, an int of at least 1; found {parts!r}")

    def whole(trained: Tree, model_state: Tree, batch: Tree, key: Any) -> Any:
        (_, result), gradient = value_and_gradient(trained, model_state, batch, key)
        return gradient, result

    def in_parts(trained: Tree, model_state: Tree, batch: Tree, key: Any) -> Any:
        n = batch_size(batch)
        if n % parts:
            raise ShapeError(
                f"accumulate={parts} cuts a batch into equal parts, which {n} examples do not allow. Choose a batch size"
                " that is a multiple of it, and leave the last, smaller batch out (drop_last=True)."
            )
        cut = tree.map(lambda x: fnp.asarray(x).reshape(parts, n // parts, *x.shape[1:]), batch)

        def body(carry: Any, at: Any) -> Any:
            total, model_state = carry
            i, part = at
            gradient, (value, model_state, aux) = whole(trained, model_state, part, random.fold_in(key, i))
            return (tree.map(lambda t, g: t + g / parts, total, gradient), model_state), (value, aux)

        start = (tree.map(fnp.zeros_like, trained), model_state)
        (gradient, model_state), reported = lax.scan(body, start, (fnp.arange(parts), cut))
        value, aux = tree.map(lambda x: fnp.mean(x, axis=0), reported)
        return gradient, (value, model_state, aux)

    return whole if parts == 1 else in_parts
