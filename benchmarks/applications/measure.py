"""How a program is measured: first calls, outputs against each other, then both libraries in turn."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .program import Program

__all__ = ["Measured", "difference", "measure"]


@dataclass
class Measured:
    """Seconds of first calls and of each call after, by library, and how far the outputs lie apart."""

    name: str
    first: dict[str, float] = field(default_factory=dict)
    samples: dict[str, list[float]] = field(default_factory=dict)
    difference: float = math.nan
    problem: str = ""  # why there are no times, or what is wrong with the outputs

    @property
    def ratio(self) -> float:
        """fx / jax of the medians."""
        return self._ratio(statistics.median)

    @property
    def ratio_of_minima(self) -> float:
        return self._ratio(min)

    def _ratio(self, of: Callable[[list[float]], float]) -> float:
        return of(self.samples["fx"]) / of(self.samples["jax"]) if len(self.samples) == 2 else math.nan


def difference(got: Sequence[np.ndarray], want: Sequence[np.ndarray], strays: float = 0.0) -> float:
    """The largest difference, each output's in units of its largest finite magnitude.

    NaN equals NaN; a NaN or an infinity that only one of the two has is infinitely far.  ``strays``: the share of the
    numbers of each output, those furthest apart, that is left out.
    """
    largest = 0.0
    for a, b in zip(got, want, strict=True):
        kind = np.complex128 if np.iscomplexobj(b) else np.float64
        a, b = a.astype(kind), b.astype(kind)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        finite = np.isfinite(a) & np.isfinite(b)
        apart = np.where(same, 0.0, math.inf)
        apart[finite] = np.abs(a[finite] - b[finite])
        scale = float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0)) or 1.0
        kept = np.sort(apart, axis=None)[: apart.size - int(strays * apart.size)]
        largest = max(largest, float(np.max(kept, initial=0.0)) / scale)
    return largest


def _call(lib: Any, compiled: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return lib.block_until_ready(compiled(*args))


def _compare(program: Program, got: list[np.ndarray], want: list[np.ndarray], measured: Measured) -> None:
    kinds = [[f"{a.dtype}{list(a.shape)}" for a in outputs] for outputs in (got, want)]
    if kinds[0] != kinds[1]:
        differing = [f"{a} / {b}" for a, b in zip(*kinds) if a != b] or [f"{len(got)} / {len(want)} outputs"]
        measured.problem = f"shapes or dtypes differ, fx / jax: {', '.join(differing)}"
        return
    measured.difference = difference(got, want, program.strays)
    if measured.difference > program.tolerance:
        measured.problem = f"outputs differ by {measured.difference:.1e}, more than {program.tolerance:g}"


def measure(program: Program, libraries: dict[str, Any], seconds: float) -> Measured:
    """Calls both in turn until the time is over, three times at least."""
    measured = Measured(program.name)
    outputs: dict[str, list[np.ndarray]] = {}
    calls: dict[str, Callable[[], Any]] = {}
    for name, lib in libraries.items():
        try:
            function, args = program.write(lib)
            compiled = lib.jit(function)
            start = time.perf_counter()
            _call(lib, compiled, args)
            measured.first[name] = time.perf_counter() - start
            outputs[name] = [np.asarray(a) for a in lib.tree.leaves(_call(lib, compiled, args))]
        except Exception as error:  # a library may fail in any way; the table says how
            measured.problem = " ".join([f"{name}: {type(error).__name__}", *str(error).strip().splitlines()[:1]])
            return measured
        calls[name] = partial(_call, lib, compiled, args)
    _compare(program, outputs["fx"], outputs["jax"], measured)
    measured.samples = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    while len(measured.samples["fx"]) < 3 or time.perf_counter() < end:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            measured.samples[name].append(time.perf_counter() - start)
    return measured
