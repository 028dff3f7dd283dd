"""What a twin is: one program in several libraries, step for step.

A module of this folder has functions ``fx_side() -> Side`` and ``torch_side() -> Side``.  Each makes the initial weights as the program of ``fx.examples``
does, in ``fx``, and hands them to its library, so that both start from the same numbers; ``batches`` are the program's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

import fx
from fx.train import Trainer

__all__ = ["TWINS", "Side", "Twin", "fx_side", "leaves", "side", "tensors", "torch_step"]


class Side(NamedTuple):
    """A program in one library.

    Args:
        step: takes a batch, trains, and returns the loss before the step; it need not wait for it.
        batches: from the number of an epoch to its batches, NumPy arrays.
        score: what the model is worth as it is now, such as its held-out accuracy; None if there is nothing held out.
    """

    step: Callable[[Any], Any]
    batches: Callable[[int], Iterable[Any]]
    score: Callable[[], float] | None = None


class Twin(NamedTuple):
    """Where a twin is written, what its functions are called with, and in which libraries it exists beside fx."""

    module: str
    options: dict[str, Any] = {}
    libraries: tuple[str, ...] = ("torch",)


TWINS = {
    "linear": Twin("regression", {"name": "linear"}),
    "logistic": Twin("regression", {"name": "logistic"}),
    "mlp": Twin("digits", {"model": "mlp", "batch_size": 32}, ("torch", "jax")),
    "mnist": Twin("digits", {"model": "small", "batch_size": 128}, ("torch", "jax")),
    "mnist-five": Twin("digits", {"model": "five", "batch_size": 64}, ("torch", "jax")),
    "lstm": Twin("sequences", {"name": "lstm"}),
    "transformer": Twin("sequences", {"name": "transformer"}),
    "vae": Twin("generative", {"batch_size": 128}),
}
"""By the name of the program; a second model of a program has a name after a dash."""


def side(name: str, library: str) -> Side:
    """A twin in a library."""
    twin = TWINS[name]
    module = importlib.import_module(f"benchmarks.programs.{twin.module}")
    return getattr(module, f"{library}_side")(**twin.options)


def fx_side(
    trainer: Trainer, model: Any, batches: Callable[[int], Iterable[Any]], key: Any = 0, *, held_out: Any = None,
    measure: str = "accuracy",
) -> Side:  # fmt: skip
    """The program itself: the trainer's compiled step, and one of its metrics on held-out batches."""
    state = trainer.init(model, key)

    def step(batch: Any) -> Any:
        nonlocal state
        state, info = trainer.step(state, batch)
        return info["loss"]

    score = lambda: trainer.evaluate(state.model, held_out, model_state=state.model_state)[measure]
    return Side(step, batches, None if held_out is None else score)


def tensors(model: Any) -> Any:
    """The tree of a model with PyTorch's tensors, trained, in place of its arrays."""
    import torch

    return fx.tree.map(lambda x: torch.tensor(np.array(x)).requires_grad_(), model)


def leaves(weights: Any) -> list[Any]:
    """The tensors of a tree, for PyTorch's optimizers."""
    return fx.tree.leaves(weights)


def torch_step(loss: Callable[[Any], Any], optimizer: Any, clip: float | None = None) -> Callable[[Any], Any]:
    """A step of PyTorch's, eager, from a loss of a batch; ``clip`` is the greatest norm of the gradient."""
    import torch

    def step(batch: Any) -> Any:
        optimizer.zero_grad()
        value = loss(batch)
        value.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)
        optimizer.step()
        return value.detach()

    return step
