"""What a twin is: one program in several libraries, step for step.

A module of this folder has a function ``start(**options) -> Start``, which makes the initial weights and the batches as the program of
``fx.examples`` does, and for each library one, such as ``torch_side(start) -> Side``, that trains from there. So all sides begin with the same
numbers, and see the same batches.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

import fx
from fx.train import Trainer

__all__ = ["TWINS", "Side", "Start", "Twin", "fx_side", "jax_step", "leaves", "side", "tensors", "torch_step"]


class Start(NamedTuple):
    """Where all sides of a twin begin.

    Args:
        model: the initial weights.
        batches: from the number of an epoch to its batches, trees of NumPy arrays.
        key: of the noise, where there is any.
        options: those of the twin.
    """

    model: Any
    batches: Callable[[int], Iterable[Any]]
    key: Any = 0
    options: dict[str, Any] = {}


class Side(NamedTuple):
    """A program in one library.

    Args:
        step: takes a batch, trains, and returns the loss before the step; it need not wait for it.
        batches: those of the start.
        score: what the model is worth as it is now, such as its held-out accuracy; None if there is nothing held out.
    """

    step: Callable[[Any], Any]
    batches: Callable[[int], Iterable[Any]]
    score: Callable[[], float] | None = None


class Twin(NamedTuple):
    """Where a twin is written, what its ``start`` is called with, and in which libraries it exists beside fx."""

    module: str
    options: dict[str, Any] = {}
    libraries: tuple[str, ...] = ("torch",)


BOTH = ("torch", "jax")
TWINS = {
    "linear": Twin("regression", {"name": "linear"}, BOTH),
    "logistic": Twin("regression", {"name": "logistic"}, BOTH),
    "mlp": Twin("digits", {"model": "mlp", "batch_size": 32}, BOTH),
    "mnist": Twin("digits", {"model": "small", "batch_size": 128}, BOTH),
    "mnist-five": Twin("digits", {"model": "five", "batch_size": 64}, BOTH),
    "lstm": Twin("sequences", {"name": "lstm"}, BOTH),
    "transformer": Twin("sequences", {"name": "transformer"}, BOTH),
    "attention": Twin("translation", {}, BOTH),
    "vae": Twin("generative", {"name": "vae"}, BOTH),
    "gan": Twin("generative", {"name": "gan"}, BOTH),
    "transfer": Twin("digits", {"model": "transfer", "batch_size": 20}, BOTH),
    "tune": Twin("populations", {}, BOTH),
}
"""By the name of the program; a second model of a program has a name after a dash."""


def side(name: str, library: str, double: bool = False) -> Side:
    """A twin in a library; with ``double`` weights and batches are float64 (in JAX, for the whole process)."""
    twin = TWINS[name]
    module = importlib.import_module(f"benchmarks.programs.{twin.module}")
    start = module.start(**twin.options)
    if double:
        if library == "jax":
            import jax

            jax.config.update("jax_enable_x64", True)
        model, batches, key, options = start
        start = Start(_wide(model), lambda epoch: (_wide(tuple(b)) for b in batches(epoch)), key, _wide(options))
    return getattr(module, f"{library}_side")(start)


def _wide(values: Any) -> Any:
    """The same numbers, those of floating point in float64."""
    return fx.tree.map(lambda x: np.asarray(x, "float64") if np.asarray(x).dtype.kind == "f" else x, values)


def fx_side(start: Start, trainer: Trainer, held_out: Any = None, measure: str = "accuracy") -> Side:
    """The program itself: the trainer's compiled step, and one of its metrics on held-out batches."""
    state = trainer.init(start.model, start.key)

    def step(batch: Any) -> Any:
        nonlocal state
        state, info = trainer.step(state, batch)
        return info["loss"]

    score = lambda: trainer.evaluate(state.model, held_out, model_state=state.model_state)[measure]
    return Side(step, start.batches, None if held_out is None else score)


# ------------------------------------------------------------------------------------------- PyTorch


def tensors(model: Any) -> Any:
    """The tree of a model with PyTorch's tensors, trained, in place of its arrays."""
    import torch

    return fx.tree.map(lambda x: torch.tensor(np.array(x)).requires_grad_(), model)


def leaves(weights: Any) -> list[Any]:
    """The tensors of a tree, for PyTorch's optimizers."""
    return fx.tree.leaves(weights)


def torch_step(
    loss: Callable[[Any], Any], optimizer: Any, clip: float | None = None, rate: Callable[[int], float] | None = None
) -> Callable[[Any], Any]:
    """A step of PyTorch's, eager, from a loss of a batch.

    Args:
        clip: the greatest norm of the gradient.
        rate: the learning rate at every step; the optimizer's own is then 1.
    """
    import torch

    follows = None if rate is None else torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def step(batch: Any) -> Any:
        optimizer.zero_grad()
        value = loss(batch)
        value.backward()
        if clip is not None:  # as fx and optax do; clip_grad_norm_ adds 1e-6 to the norm
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            short = (clip / torch.nn.utils.get_total_norm(gradients)).clamp(max=1.0)
            torch._foreach_mul_(gradients, short)
        optimizer.step()
        if follows is not None:
            follows.step()
        return value.detach()

    return step


# ----------------------------------------------------------------------------------------------- JAX


def jax_step(loss: Callable[..., Any], optimizer: Any, model: Any) -> Callable[[Any], Any]:
    """A compiled step of JAX's from ``loss(weights, *batch)`` and an optimizer of optax.

    ``weights`` is the tree of the model with JAX's arrays in place of its own.
    """
    import jax
    import optax

    flat, structure = fx.tree.flatten(model)

    @functools.partial(jax.jit, donate_argnums=(0, 1))  # as fx's step has it
    def update(weights: Any, state: Any, batch: Any) -> Any:
        value, gradient = jax.value_and_grad(lambda w: loss(fx.tree.unflatten(structure, w), *batch))(weights)
        updates, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state, value

    weights = [jax.numpy.asarray(np.asarray(x)) for x in flat]
    held = [weights, optimizer.init(weights)]

    def step(batch: Any) -> Any:
        *held[:], value = update(*held, tuple(batch))
        return value

    return step
