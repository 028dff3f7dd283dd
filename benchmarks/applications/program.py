"""What a program is: a function and its arguments, written once in the names that fx and JAX share."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import float32

__all__ = ["PROGRAMS", "Program", "Task", "generator", "library", "normal", "program", "uniform"]

Task = tuple[Callable[..., Any], tuple[Any, ...]]  # what is compiled, and what it is called with
Write = Callable[[Any], Task]

TOLERANCE = 1e-4  # of the largest magnitude of an output: float32, after up to a hundred steps


@dataclass(frozen=True)
class Program:
    """``write(fx or jax)`` gives the function and its arguments.

    Outputs agree within ``tolerance``, but for a share of ``strays`` among the numbers of each.
    """

    write: Write
    tolerance: float = TOLERANCE
    strays: float = 0.0

    @property
    def name(self) -> str:
        return self.write.__name__

    @property
    def description(self) -> str:
        return (self.write.__doc__ or "").strip()


PROGRAMS: dict[str, Program] = {}


def program(write: Write, tolerance: float = TOLERANCE, strays: float = 0.0) -> Write:
    """Lists a program under its name."""
    if write.__name__ in PROGRAMS:
        raise ValueError(f"two programs are named {write.__name__!r}; give one of them another name")
    PROGRAMS[write.__name__] = Program(write, tolerance, strays)
    return write


def library(name: str) -> Any:
    """fx or jax, with the submodules that programs use."""
    for part in ("numpy", "ops", "scipy.linalg", "scipy.ndimage", "scipy.special"):
        importlib.import_module(f"{name}.{part}")
    return importlib.import_module(name)


def generator() -> np.random.Generator:
    """Where all data come from: every program starts from the same seed."""
    return np.random.default_rng(0)


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Any:
    """Normally distributed numbers as float32."""
    return (rng.normal(size=shape) * scale).astype(float32)


def uniform(rng: np.random.Generator, *shape: int) -> Any:
    """Numbers of [0, 1) as float32."""
    return rng.uniform(size=shape).astype(float32)
