"""The programs of ``fx.examples`` beside their twins: same initial weights, same batches, same arithmetic.

``python -m benchmarks.programs [NAME ...] [--isa avx2]`` compares the losses of the first 100 steps, then times whole epochs in turn, each
library in a process of its own, which is waited for until it is idle.  With ``--isa avx2`` all of them do without AVX-512, as in ``benchmarks``.

    twin             steps  largest difference of losses    fx s/epoch   torch s/epoch    ratio

A twin is a function in a module of this folder, listed in ``TWINS``; see ``twin.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.process import AVX2_ONLY, environment, settle

from .twin import TWINS, Side, side

STEPS = 100
TURN = 0.1  # seconds; epochs of a few milliseconds have an interruption in one of three otherwise


def losses(chosen: Side, steps: int) -> list[float]:
    """The losses of the first steps."""
    found: list[float] = []
    epoch = 0
    while len(found) < steps:
        for batch in chosen.batches(epoch):
            found.append(float(chosen.step(batch)))
            if len(found) == steps:
                break
        epoch += 1
    return found


def an_epoch(chosen: Side, epoch: int) -> float:
    """Seconds of an epoch, the median of as many, one after the other, as take ``TURN`` seconds, at least one.

    The batches are made ready before; the last loss is waited for.
    """
    batches, loss, seconds = list(chosen.batches(epoch)), None, []
    while sum(seconds) < TURN:
        start = time.perf_counter()
        for batch in batches:
            loss = chosen.step(batch)
        float(loss)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def end(chosen: Side, epochs: int) -> float | None:
    """The score after so many epochs."""
    for epoch in range(epochs if chosen.score else 0):
        for batch in chosen.batches(epoch):
            chosen.step(batch)
    return chosen.score() if chosen.score else None


def serve(name: str, library: str, double: bool) -> None:
    """Answers lines of JSON: {"steps": n} with losses, {"epoch": i} with seconds, {"end": n} with the score of a new run."""
    answers, sys.stdout = sys.stdout, sys.stderr
    chosen = side(name, library, double)
    for line in sys.stdin:
        ((what, number),) = json.loads(line).items()
        do = {"steps": losses, "epoch": an_epoch, "end": lambda _, n: end(side(name, library), n)}[what]
        answer = do(chosen, number)
        print(json.dumps(answer), file=answers, flush=True)


class _Process:
    def __init__(self, name: str, library: str, threads: int, double: bool) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.programs", "--serve", library, name, *["--double"] * double],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads),
        )  # fmt: skip

    def ask(self, **question: Any) -> Any:
        assert self.child.stdin is not None and self.child.stdout is not None
        print(json.dumps(question), file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError("a process died; its message stands above")
        return json.loads(line)

    def close(self) -> None:
        self.child.kill()
        self.child.wait()


def compare(name: str, threads: int, epochs: int, steps: int = STEPS, ends: int = 0, double: bool = False) -> str:
    """A row of the table."""
    libraries = ["fx", *TWINS[name].libraries]
    processes = {library: _Process(name, library, threads, double) for library in libraries}
    try:
        found = {library: p.ask(steps=steps) for library, p in processes.items()}
        worst = {
            library: max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(found["fx"], found[library]))
            for library in libraries[1:]
        }
        seconds = {library: [] for library in libraries}
        for epoch in range(epochs):
            for library, process in processes.items():
                seconds[library].append(process.ask(epoch=epoch))
                settle(process.child.pid)
        scores = {library: p.ask(end=ends) for library, p in processes.items()} if ends else {}
    finally:
        for process in processes.values():
            process.close()
    text = f"{name:<16} {steps:>5}  {'  '.join(f'{library} {w:.1e}' for library, w in worst.items()):<28}"
    if epochs:
        medians = {library: statistics.median(s) for library, s in seconds.items()}
        best = min(medians[library] for library in libraries[1:])
        text += "".join(f"  {library} {s:8.4f} s" for library, s in medians.items())
        text += f"  ratio {medians['fx'] / best:.2f}"
    told = "  ".join(f"{library} {score:.4f}" for library, score in scores.items() if score is not None)
    return text + (f"  after {ends} epochs: {told}" if told else "")


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.programs", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TWINS)}; none: all")
    parser.add_argument("--epochs", type=int, default=5, help="timed with each library, in turn (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="compared (default: %(default)s)")
    parser.add_argument("--ends", type=int, default=0, metavar="EPOCHS", help="also the scores after so many epochs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", choices=["avx2"], help="the instructions that every library may use (all it knows)")
    parser.add_argument("--double", action="store_true", help="float64: differences that vanish are rounding")
    parser.add_argument("--serve", metavar="LIBRARY", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [n for n in args.names if n not in TWINS]
    if unknown:
        parser.error(f"no twin {', '.join(unknown)}; there are {', '.join(TWINS)}")
    if args.serve:
        serve(args.names[0], args.serve, args.double)
        return
    if args.isa and not os.environ.items() >= AVX2_ONLY.items():  # libraries read it when they are loaded, and some are
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.programs", *sys.argv[1:]], os.environ | AVX2_ONLY)
    print(
        f"{'twin':<16} {'steps':>5}  {'largest relative difference':<28}  median seconds of an epoch; ratio to the best"
    )
    for name in args.names or TWINS:
        print(compare(name, args.threads, args.epochs, args.steps, args.ends, args.double), flush=True)


if __name__ == "__main__":
    main()
