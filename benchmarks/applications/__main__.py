"""Small real programs, compiled by fx and by JAX in one process: ``python -m benchmarks.applications``.

    python -m benchmarks.applications [NAME ...] [--seconds S] [--json FILE] [--list]

Each program is written once, in the names that both libraries share.  The outputs are compared, then both are called in
turn with the same NumPy arguments, for S seconds together.  Ratios are fx / jax, below 1: fx is faster; differences are
relative to the largest magnitude of an output.  The first call compiles: an empty FX_CACHE_DIR makes that a cold start.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import statistics
import sys

from . import PROGRAMS
from .measure import Measured, measure
from .program import library


def _arguments() -> argparse.Namespace:
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.applications", description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these programs only")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a program is timed (3)")
    parser.add_argument("--json", metavar="FILE", help="write all readings to this file")
    parser.add_argument("--list", action="store_true", help="print the programs and what they are")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - PROGRAMS.keys()):
        parser.error(f"no program is named {', '.join(unknown)}; --list prints all names")
    return args


HEADER = (
    f"{'program':26}{'fx us':>11}{'jax us':>11}{'ratio':>8}{'of min':>8}"
    f"{'first fx ms':>13}{'jax ms':>9}{'difference':>12}"
)


def line(measured: Measured) -> str:
    """A row of the table."""
    if not measured.samples:
        return f"{measured.name:26}  {measured.problem}"
    fx, jax = (statistics.median(measured.samples[name]) * 1e6 for name in ("fx", "jax"))
    return (
        f"{measured.name:26}{fx:11.1f}{jax:11.1f}{measured.ratio:8.2f}{measured.ratio_of_minima:8.2f}"
        f"{measured.first['fx'] * 1e3:13.0f}{measured.first['jax'] * 1e3:9.0f}{measured.difference:12.1e}"
        f"  {measured.problem}"
    ).rstrip()


def summary(results: list[Measured]) -> str:
    """The means of the ratios, how many are below 1, and what is wrong."""
    timed = [r for r in results if r.samples]
    wrong = [r.name for r in results if r.problem]
    lines = []
    if timed:
        kinds = {
            "of medians": [r.ratio for r in timed],
            "of minima": [r.ratio_of_minima for r in timed],
            "of first calls": [r.first["fx"] / r.first["jax"] for r in timed],
        }
        for kind, ratios in kinds.items():
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            below = sum(ratio < 1 for ratio in ratios)
            lines.append(f"fx / jax {kind}: geometric mean {mean:.2f}, {below} of {len(ratios)} below 1")
    lines.append(f"failed or differing: {', '.join(wrong)}" if wrong else "all outputs agree")
    return "\n".join(lines)


def main() -> None:
    args = _arguments()
    if args.list:
        return print("\n".join(f"{name:26}{program.description}" for name, program in PROGRAMS.items()))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        libraries = {name: library(name) for name in ("fx", "jax")}
    except ModuleNotFoundError as error:
        sys.exit(f"{error}; the programs are compared with JAX: pip install jax")
    print(HEADER)
    results = []
    for name in args.names or PROGRAMS:
        results.append(measure(PROGRAMS[name], libraries, args.seconds))
        print(line(results[-1]), flush=True)
    print(f"\n{summary(results)}")
    if args.json:
        with open(args.json, "w") as f:
            json.dump([dataclasses.asdict(r) for r in results], f)
    if any(r.problem for r in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
