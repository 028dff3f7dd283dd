"""Rows that need a process of their own for every sample: first results, new batch sizes, memory.

python -m benchmarks --child KIND --row NAME --setting SETTING    prints one line of JSON
"""

from __future__ import annotations

import importlib
import json
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
    """Seconds from a ready process (library imported, arrays made) to the first result: trace, compile, run.

    ``warm``: fx has the kernels on disk from an earlier process; the peers are as in the cold row.
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


@dataclass(frozen=True)
class NewBatch:
    """Seconds of the first call at another batch size."""

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
    """Bytes by which steps of training raise the peak of a process that holds library, parameters and data."""

    row: Row
    unit: ClassVar[str] = "MB"
    goals: ClassVar[tuple[Goal, ...]] = (Goal(1.0, "torch"),)

    @property
    def name(self) -> str:
        return f"memory: {self.row.name}"

    def measure(self, environment: Mapping[str, str], rounds: int) -> Result:
        result = Result(self.name, self.unit, self.goals)
        for _ in range(min(rounds, 3)):
            for setting in ("fx", "jax", "torch"):
                _collect(result, setting, "bytes", lambda: _child("memory", self.row.name, setting, environment))
        return result


# ------------------------------------------------------------------------------------ inside the child


def _ready(row: Row, setting: str) -> Prepared:
    """The library imported and its backend awake, the arrays made; nothing traced."""
    from .libraries import arrays

    library = setting.partition(":")[0]
    importlib.import_module(library)
    arrays(library, np.zeros(3, np.float32))
    return row.writes[setting](row.data(np.random.default_rng(0)))


def _start(row: Any, setting: str) -> dict[str, Any]:
    prepared = _ready(row, setting)
    start = time.perf_counter()
    prepared.run()
    return {"seconds": [time.perf_counter() - start]}


def _batch(new: Any, setting: str) -> dict[str, Any]:
    prepared = _ready(new.row, setting)
    rng, batch = np.random.default_rng(0), new.batch
    for _ in range(3):
        prepared.run()
    compiled = _compiled(setting)
    seconds = []
    for other in (batch // 2, batch + 3, batch * 2, batch - 5, batch + 16, batch // 2 + 1, batch + 40):
        again = prepared.bind(new.resized(other).data(rng))
        start = time.perf_counter()
        again.run()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds} | ({"native compiles": _compiled(setting) - compiled} if setting == "fx" else {})


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
    import gc

    prepared = _ready(row, setting)
    gc.collect()
    before = _status("VmRSS")
    for _ in range(3):
        prepared.run()
    whole = _status("VmHWM") - before
    gc.collect()
    with open("/proc/self/clear_refs", "w") as f:  # the peak counts from here
        f.write("5")
    for _ in range(5):
        prepared.run()
    return {"bytes": [_status("VmHWM") - before], "with compiling": f"{whole / 1e6:.1f} MB"}


CHILDREN: dict[str, Callable[[Any, str], dict[str, Any]]] = {"start": _start, "batch": _batch, "memory": _memory}
"""What ``--child KIND`` does with a row and a setting."""
