"""One process per library: it makes rows ready, hands over whole results for comparison, and times in turn with the others."""

from __future__ import annotations

import contextlib
import getpass
import importlib
import importlib.util
import itertools
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .row import Prepared, Result, Row, leaves

__all__ = ["AVX2_ONLY", "LIBRARIES", "Pool", "environment", "installed", "serve", "settle"]

LIBRARIES = ("fx", "numpy", "jax", "torch", "autograd")
AVX2_ONLY = {
    "FX_ISA": "avx2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # NumPy from 2.4 on; for its products, OpenBLAS
    "OPENBLAS_CORETYPE": "Haswell",
    # XLA: what LLVM makes, then what Eigen calls for float32.  YNNPACK goes by the processor alone, so products are Eigen's.
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_DOT,-LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
"""The environment in which fx and its peers use no instructions beyond AVX2 and FMA."""
_LONG_ENOUGH = 200e-6  # seconds of work from which more threads must show
_SETTLED = 0.3  # seconds at most that a library's idle threads are waited for: OpenBLAS's spin for 0.1 s
_PATIENCE = 240.0  # seconds for an answer; torch.compile on a busy machine takes a minute


def installed() -> list[str]:
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]


def environment(threads: int) -> dict[str, str]:
    """The environment of a process whose library has that many threads, and whose modules are compiled to files; flags of XLA
    that stand in ours are kept.

    OpenBLAS, by which NumPy multiplies, chooses its kernels for the processor itself, but where all libraries do without AVX-512:
    systems set others against faults of old versions (float32 64 x 64 takes 1.9 times as long with Haswell's on Zen 5).
    """
    n = str(threads)
    held = os.environ.items() >= AVX2_ONLY.items()
    chosen = set() if held else {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
    ours = {k: v for k, v in os.environ.items() if k not in {"PYTHONDONTWRITEBYTECODE", *chosen}}
    if (
        held
    ):  # what torch.compile keeps it finds again by the source alone, and runs it with vectors of the wrong length
        ours["TORCHINDUCTOR_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"torchinductor_avx2_{getpass.getuser()}")
    xla = f"{ours.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={n}"
    return {
        **ours, "FX_NUM_THREADS": n, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n, "MKL_NUM_THREADS": n,
        "XLA_FLAGS": xla.strip(), "JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }  # fmt: skip


# ------------------------------------------------------------------------------- inside a worker process


def _wide(data: Any) -> bool:
    return any(a.dtype in (np.float64, np.int64) for a in leaves(data))


def _calibrate(prepared: Prepared, budget: float) -> tuple[int, float]:
    """Calls that one reading of the clock spans (at least a twentieth of the budget), and seconds of a call."""
    inner = 1
    while True:
        start = time.perf_counter()
        for _ in itertools.repeat(None, inner):
            prepared.run()
        elapsed = time.perf_counter() - start
        if elapsed > budget / 20:
            return inner, elapsed / inner
        inner *= 2 if elapsed <= 0 else max(2, min(16, int(budget / 15 / elapsed)))


def _samples(prepared: Prepared, inner: int, budget: float) -> list[float]:
    """Seconds of a call, read until the budget is spent, at least twice; one call before that is not counted."""
    prepared.run()
    samples: list[float] = []
    end = time.perf_counter() + budget
    while len(samples) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in itertools.repeat(None, inner):
            prepared.run()
        samples.append((time.perf_counter() - start) / inner)
    return samples


class _Server:
    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.rows = rows
        self.ready: dict[str, Prepared] = {}
        self.inner: dict[str, int] = {}

    def prepare(self, row: str, setting: str, file: str) -> dict[str, Any]:
        """Makes a row ready and writes its whole result to a file."""
        data = self.rows[row].data(np.random.default_rng(0))
        if setting.startswith("jax"):
            importlib.import_module("jax").config.update("jax_enable_x64", _wide(data))
        start = time.perf_counter()
        prepared = self.rows[row].writes["fx" if setting == "fx1" else setting](data)
        result = prepared.run()
        first = time.perf_counter() - start
        np.savez(file, *leaves(prepared.show(result)))
        self.ready[setting] = prepared
        return {"first": first}

    def calibrate(self, setting: str, budget: float) -> dict[str, Any]:
        self.inner[setting], seconds = _calibrate(self.ready[setting], budget)
        return {"seconds": seconds}

    def time(self, setting: str, budget: float) -> dict[str, Any]:
        return {"samples": _samples(self.ready[setting], self.inner[setting], budget)}

    def forget(self) -> dict[str, Any]:
        self.ready.clear()
        return {}


def serve(rows: Mapping[str, Row]) -> None:
    """Answers lines of JSON, ``{"do": "prepare" | "calibrate" | "time" | "forget", ...}``, until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    server = _Server(rows)
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            answer = getattr(server, ask.pop("do"))(**ask)
        except Exception as error:  # a library may fail in any way; the table says how
            answer = {"error": " ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])}
        print(json.dumps(answer), file=answers, flush=True)


# ---------------------------------------------------------------------------------------- outside of it


class _Worker:
    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.child: subprocess.Popen[str] | None = None

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer; a process that died or does not answer is an error, and the next question starts a new one."""
        if self.child is None:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks", "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, env=environment(self.threads),
            )  # fmt: skip
        assert self.child.stdin is not None and self.child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(question), file=self.child.stdin, flush=True)
            if select.select([self.child.stdout], [], [], _PATIENCE)[0] and (line := self.child.stdout.readline()):
                return json.loads(line)
        self.close()
        return {"error": f"the process of {self.name} died or gave no answer within {_PATIENCE:.0f} s"}

    def settle(self) -> None:
        """Waits until the process is idle."""
        if self.child is not None:
            settle(self.child.pid)

    def close(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None


def settle(pid: int) -> None:
    """Waits until no thread of a process uses a processor any more: it would be missing to the next library."""
    end, before = time.monotonic() + _SETTLED, None
    while (now := _processor_time(pid)) != before and time.monotonic() < end:
        before = now
        time.sleep(0.01)


def _processor_time(pid: int) -> list[int] | None:
    """Nanoseconds that each thread of a process has run, where the system tells."""
    try:
        return [int(path.read_text().split()[0]) for path in sorted(Path(f"/proc/{pid}/task").glob("*/schedstat"))]
    except OSError:  # not Linux, or a thread has just ended
        return None


class Pool:
    """The workers, and how a row is measured with them."""

    def __init__(self, libraries: list[str], threads: int, compiled: bool = True) -> None:
        self.compiled = compiled
        self.workers = {name: _Worker(name, threads) for name in libraries}
        if threads > 1:
            self.workers["fx1"] = _Worker("fx1", 1)
        if "numpy" in libraries:
            self.workers["copy"] = self.workers["numpy"]

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def _settings(self, row: Row) -> list[str]:
        """fx first: the others are compared with it."""
        known = [s for s in row.writes if s.partition(":")[0] in self.workers]
        wanted = [s for s in known if self.compiled or not s.startswith("torch:compile")]
        return sorted(wanted, key=lambda s: s != "fx")

    def _worker(self, setting: str) -> _Worker:
        return self.workers[setting.partition(":")[0]]

    def measure(self, row: Row, rounds: int, budget: float) -> Result:
        """Compares whole results, then times in turn what agrees; ``rounds=0`` compares only."""
        result = Result(row.name, row.unit, row.goals, flops=row.flops, nbytes=row.nbytes)
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
            self._compare(row, result, rounds, budget, folder)
        for _ in range(rounds):
            for setting in result.first:
                answer = self._worker(setting).ask(do="time", setting=setting, budget=budget)
                result.samples.setdefault(setting, []).extend(answer.get("samples", []))
                self._worker(setting).settle()
        result.samples = {k: v for k, v in result.samples.items() if v}
        for worker in {id(w): w for w in self.workers.values()}.values():
            if worker.child is not None:
                worker.ask(do="forget")
        return result

    def _compare(self, row: Row, result: Result, rounds: int, budget: float, folder: str) -> None:
        """Makes every setting ready; ``result.first`` then holds those that agree."""
        file = os.path.join(folder, "result.npz")
        want: list[np.ndarray] | None = None
        settings = self._settings(row)
        for setting in settings:  # it grows by the one-thread process when fx turns out to take long
            worker = self._worker(setting)
            answer = worker.ask(do="prepare", row=row.name, setting=setting, file=file)
            if "error" not in answer and setting != "copy":
                with np.load(file) as stored:
                    got = [stored[k] for k in stored.files]
                want = got if want is None else want
                answer |= differs(row, got, want)
                result.wrong |= "error" in answer
            seconds = 0.0
            if rounds and "error" not in answer:
                again = worker.ask(do="calibrate", setting=setting, budget=budget)
                worker.settle()
                seconds = again.get("seconds", 0.0)
                answer |= again
            if "error" in answer:
                result.notes[setting] = answer["error"]
                continue
            result.first[setting] = answer["first"]
            if setting == "fx" and row.scales and seconds > _LONG_ENOUGH and "fx1" in self.workers:
                settings.append("fx1")


def differs(row: Row, got: list[np.ndarray], want: list[np.ndarray]) -> dict[str, str]:
    """An "error" if two libraries' results are not the same; how they may differ stands in the row."""
    if row.compare == "nothing":
        return {}
    if [a.shape for a in got] != [a.shape for a in want]:
        return {"error": f"shapes {[a.shape for a in got]}, fx {[a.shape for a in want]}"}
    for i, (a, b) in enumerate(zip(got, want)):
        if row.compare == "moments":
            a, b = np.array([a.mean(), a.std()]), np.array([b.mean(), b.std()])
        scale = float(np.max(np.abs(b), initial=0.0)) or 1.0
        error = float(np.max(np.abs(a.astype(np.float64) - b), initial=0.0)) / scale
        if not error <= row.tolerance:  # NaN is a difference
            return {"error": f"result {i} differs from fx by {error:.1e} of the largest magnitude"}
    return {}
