"""Rows that need a process of their own for every sample: first results, new batch sizes, memory.

python -m benchmarks --child KIND --row NAME --setting SETTING    prints one line of JSON
"""

from __future__ import annotations

import gc
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .row import Goal, Prepared, Result, Row

__all__ = ["CHILDREN", "Memory", "NewBatch", "Start"]


def _child(kind: str, row: str, setting: str, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks", "--child", kind, "--row", row, "--setting", setting]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _collect(result: Result, setting: str, key: str, question: Callable[[], dict[str, Any]]) -> None:
    """Adds one child's answer, or the reason why there is none."""
    try:
        answer = question()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        result.notes[setting] = str(error)
        return
    result.samples.setdefault(setting, []).extend(answer.pop(key))
    result.notes |= {f"{setting}: {k}": str(v) for k, v in answer.items()}


# ------------------------------------------------------------------------------------------- the rows


@dataclass(frozen=True)
class Start:
    """Seconds to the first result: trace, compile, run, in a process that has imported the library and made the arrays.

    ``warm``: fx has the kernels on disk from an earlier process; JAX starts cold in both rows.  The imports, which come on
    top, are told beside the row.
    """

    row: Row
    warm: bool
    unit: ClassVar[str] = "ms"

    @property
    def name(self) -> str:
        return f"{'warm' if self.warm else 'cold'} start: {self.row.name}"

    @property
    def goals(self) -> tuple[Goal, ...]:
        return (Goal(0.2 if self.warm else 1.0, "jax"),)

    def measure(self, environment: Mapping[str, str], rounds: int) -> Result:
        result = Result(self.name, self.unit, self.goals)
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as store:
                own = {**environment, "FX_CACHE_DIR": store}
                if self.warm:
                    _child("start", self.row.name, "fx", own)
                _collect(result, "fx", "seconds", lambda: _child("start", self.row.name, "fx", own))
            _collect(result, "jax", "seconds", lambda: _child("start", self.row.name, "jax", environment))
        return result


SIZES = 16


@dataclass(frozen=True)
class NewBatch:
    """Seconds that the first call at another batch size takes more than the next ones (their median): ``SIZES`` sizes drawn between half and
    twice the usual one.  A step of training goes on from the state that it has."""

    row: Row
    batch: int
    resized: Callable[[int], Row]
    unit: ClassVar[str] = "ms"
    goals: ClassVar[tuple[Goal, ...]] = (Goal(5e-3, "absolute"),)

    @property
    def name(self) -> str:
        return f"new batch size: {self.row.name}"

    def measure(self, environment: Mapping[str, str], rounds: int) -> Result:
        result = Result(self.name, self.unit, self.goals)
        for setting in ("fx", "jax"):
            _collect(result, setting, "seconds", lambda: _child("batch", self.name, setting, environment))
        return result


@dataclass(frozen=True)
class Memory:
    """The most memory that steps of training hold at a time beyond what library (awake: it has run a tiny program),
    parameters and data took before.

    Anonymous memory: pages of the libraries' files, which the system shares and drops at will, are not counted.  fx has
    its kernels on disk; what a process holds that compiles them is told beside the row.
    """

    row: Row
    unit: ClassVar[str] = "MB"
    goals: ClassVar[tuple[Goal, ...]] = (Goal(1.0, "torch"),)

    @property
    def name(self) -> str:
        return f"memory: {self.row.name}"

    def measure(self, environment: Mapping[str, str], rounds: int) -> Result:
        result = Result(self.name, self.unit, self.goals)
        with tempfile.TemporaryDirectory() as store:
            own = {**environment, "FX_CACHE_DIR": store}
            compiling = _child("memory", self.row.name, "fx", own)["bytes"][0]
            result.notes["fx: compiling"] = f"{compiling / 1e6:.1f} MB"
            for _ in range(min(rounds, 3)):
                for setting in ("fx", "jax", "torch"):
                    _collect(result, setting, "bytes", lambda: _child("memory", self.row.name, setting, own))
        return result


# ------------------------------------------------------------------------------------ inside the child


def _ready(row: Row, setting: str) -> Prepared:
    """The library imported and its backend awake, the arrays made; nothing traced."""
    from .libraries import arrays

    library = setting.partition(":")[0]
    _imports(library)
    arrays(library, np.zeros(3, np.float32))
    return row.writes[setting](row.data(np.random.default_rng(0)))


def _imports(library: str) -> None:
    """Everything of a library that the steps use, its compiler included."""
    for name in {"fx": ("fx", "fx.numpy", "fx.lax", "fx.nn", "jit.compiler")}.get(library, (library,)):
        importlib.import_module(name)


def _start(row: Any, setting: str) -> dict[str, Any]:
    start = time.perf_counter()
    _imports(setting)
    imported = time.perf_counter() - start
    prepared = _ready(row, setting)
    start = time.perf_counter()
    prepared.run()
    return {"seconds": [time.perf_counter() - start], "imports": f"{imported * 1e3:.0f} ms"}


def _batch(new: Any, setting: str) -> dict[str, Any]:
    prepared = _ready(new.row, setting)
    rng, batch = np.random.default_rng(0), new.batch
    for _ in range(3):
        prepared.run()
    compiled = _compiled(setting)
    seconds = []
    sizes = dict.fromkeys(map(int, batch * 2 ** rng.uniform(-1, 1, 20 * SIZES)))
    for other in [n for n in sizes if n != batch][:SIZES]:
        again = prepared.bind(new.resized(other).data(rng))
        first, *others = [_timed(again.run) for _ in range(6)]
        # one call against the fastest of several would count the step's own spread as time of the new size
        seconds.append(max(first - statistics.median(others), 0.0))
    slowest = {
        "the slowest": f"{max(seconds) * 1e3:.0f} ms"
    }  # fx traces for the second size; others that pass its guards it fills in
    return (
        {"seconds": seconds} | slowest | ({"native compiles": _compiled(setting) - compiled} if setting == "fx" else {})
    )


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _compiled(setting: str) -> int:
    """Kernels that this process has compiled or loaded."""
    if setting != "fx":
        return 0
    import jit

    return jit.cache_info().misses


def _status(key: str) -> int:
    """Bytes, from the kernel's account of this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _memory(row: Any, setting: str) -> dict[str, Any]:
    prepared = _ready(row, setting)
    _awake(setting)
    gc.collect()
    before = _status("RssAnon")
    for _ in range(3):
        prepared.run()
    gc.collect()
    with open("/proc/self/clear_refs", "w") as f:  # the peak counts from here
        f.write("5")
    for _ in range(5):
        prepared.run()
    return {"bytes": [_status("VmHWM") - _status("RssFile") - _status("RssShmem") - before]}


def _awake(setting: str) -> None:
    """Runs a tiny gradient once, so that what a library's compiler or engine takes for itself is there before a step."""
    module: Any = importlib.import_module(setting)
    x = np.ones((3, 4), np.float32)
    if setting == "torch":
        w = module.ones(4, 4, requires_grad=True)
        module.relu(module.from_numpy(x) @ w).exp().sum().backward()
    else:
        loss = lambda w: module.numpy.exp(module.nn.relu(x @ w)).sum()
        module.jit(module.grad(loss))(np.ones((4, 4), np.float32))


CHILDREN: dict[str, Callable[[Any, str], dict[str, Any]]] = {"start": _start, "batch": _batch, "memory": _memory}
"""What ``--child KIND`` does with a row and a setting."""
