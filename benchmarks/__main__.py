"""fx beside NumPy, JAX and PyTorch: one process per library, interleaved, same data, same thread counts.

    python -m benchmarks [--only PATTERN] [--quick] [--threads N] [--rounds N] [--json FILE]

For every row each library runs in a process of its own that stays alive; the rounds go round the libraries, so a
drift of the clock hits all of them.  Results are compared before anything is timed, results are waited for, inputs
lie ready.  The table gives the median of a call in microseconds and the ratio fx / best peer (below 1: fx is faster).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

from .loops import LOOPS
from .work import ROWS as ARRAYS
from .work import Row

ROWS = [*ARRAYS, *LOOPS]

LIBRARIES = ("fx", "numpy", "jax", "torch")


def _environment(threads: int) -> dict[str, str]:
    n = str(threads)
    xla = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={n}"
    return {
        **os.environ, "FX_NUM_THREADS": n, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n, "MKL_NUM_THREADS": n,
        "XLA_FLAGS": xla, "JAX_PLATFORMS": "cpu",
    }  # fmt: skip


# ------------------------------------------------------------------------------- inside a worker process


def _leaves(x: Any) -> list[np.ndarray]:
    if isinstance(x, dict):
        return [a for k in sorted(x) for a in _leaves(x[k])]
    if isinstance(x, (list, tuple)):
        return [a for v in x for a in _leaves(v)]
    return [np.asarray(x.detach() if hasattr(x, "detach") else x)]


def _summary(x: Any) -> list[float]:
    """Numbers by which two results can be compared: the first leaf's mean, mean square and some elements."""
    a = _leaves(x)[0].astype(np.float64).ravel()
    return [float(a.mean()), float((a * a).mean()), *(float(v) for v in a[:: max(1, a.size // 7)][:7])]


def _worker(library: str) -> None:
    """Answers lines of JSON: {"row": i, "do": "prepare" | "time", ...}."""
    run: Any = None
    for line in sys.stdin:
        ask = json.loads(line)
        row = ROWS[ask["row"]]
        if ask["do"] == "prepare":
            data = row.data(np.random.default_rng(0))
            start = time.perf_counter()
            run = row.builders[library](data)
            first = run()
            answer: Any = {"first": time.perf_counter() - start, "summary": _summary(first)}
            for _ in range(3):
                run()
        else:
            times = []
            for _ in range(ask["repeats"]):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            answer = times
        print(json.dumps(answer), flush=True)


class _Process:
    def __init__(self, library: str, threads: int) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "--worker", library],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(threads),
        )  # fmt: skip

    def ask(self, **question: Any) -> Any:
        assert self.child.stdin is not None and self.child.stdout is not None
        print(json.dumps(question), file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError("a benchmark process died; its message stands above")
        return json.loads(line)

    def close(self) -> None:
        self.child.kill()
        self.child.wait()


# ----------------------------------------------------------------------------------------- the table


def _installed() -> list[str]:
    import importlib.util

    return [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]


def measure(index: int, row: Row, processes: dict[str, _Process], rounds: int, quick: bool) -> dict[str, Any]:
    """Medians in seconds, spread, and seconds to the first result, for every library that has the row."""
    libraries = [name for name in processes if name in row.builders]
    prepared = {name: processes[name].ask(row=index, do="prepare") for name in libraries}
    want = prepared["fx"]["summary"]
    for name in libraries:
        got = prepared[name]["summary"]
        if not np.allclose(got, want, rtol=row.tolerance, atol=row.tolerance):
            raise RuntimeError(f"{row.name}: {name} computes {got}, fx {want}; nothing is timed before they agree")
    times: dict[str, list[float]] = {name: [] for name in libraries}
    for _ in range(2 if quick else rounds):
        for name in libraries:
            times[name] += processes[name].ask(row=index, do="time", repeats=max(3, row.repeats // (4 if quick else 1)))
    median = {name: float(np.median(t)) for name, t in times.items()}
    spread = {name: float((np.quantile(t, 0.75) - np.quantile(t, 0.25)) / np.median(t)) for name, t in times.items()}
    best = min(v for name, v in median.items() if name != "fx")
    return {
        "name": row.name, "median": median, "spread": spread, "ratio": median["fx"] / best,
        "first": {name: prepared[name]["first"] for name in libraries},
        "gflops": row.flops / median["fx"] / 1e9, "gbytes": row.nbytes / median["fx"] / 1e9,
    }  # fmt: skip


def _print_row(result: dict[str, Any], libraries: list[str]) -> None:
    cells = "".join(f"{result['median'][n] * 1e6:12.1f}" if n in result["median"] else f"{'':12}" for n in libraries)
    print(f"{result['name']:<44}{cells}{result['ratio']:9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        _worker(args.worker)
        return
    libraries = _installed()
    print(f"{args.threads} threads, median in microseconds, ratio = fx / best peer\n")
    print(f"{'':44}" + "".join(f"{n:>12}" for n in libraries) + f"{'ratio':>9}")
    processes = {name: _Process(name, args.threads) for name in libraries}
    results = []
    try:
        for i, row in enumerate(ROWS):
            if args.only in row.name:
                results.append(measure(i, row, processes, args.rounds, args.quick))
                _print_row(results[-1], libraries)
    finally:
        for p in processes.values():
            p.close()
    if args.json:
        with open(args.json, "w") as f:
            json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
