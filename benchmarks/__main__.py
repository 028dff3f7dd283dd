"""fx beside NumPy, JAX, PyTorch and autograd: one process per library, interleaved, same data, same thread counts.

    python -m benchmarks [--only PATTERN] [--quick] [--threads N] [--isa avx2] [--rounds N] [--list] [--check]
                         [--json FILE] [--markdown FILE] [--png FILE]

For every row each library runs in a process of its own that stays alive; the rounds go round the libraries, so a drift of
the clock hits all of them.  Whole results are compared before anything is timed, results are waited for, inputs lie
ready, short calls are timed many at a time.  The table gives the median of a call, the spread of fx (interquartile
range), the ratio fx / best peer (below 1: fx is faster) of the medians and of the fastest readings, the gain from all
threads over one, and the row's goal.  With ``--isa avx2`` all of them do without AVX-512 (``process.AVX2_ONLY``), as they
would on a machine that has none, but for this machine's clock and caches, and for JAX's products, which Eigen computes then.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import Any

from .fresh import CHILDREN
from .process import AVX2_ONLY, Pool, environment, installed, serve
from .report import as_json, as_markdown, header, line, only, summary
from .roofline import draw, machine
from .row import Result, Row
from .rows import FAMILIES


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="rows whose 'family: name' matches this expression"
    )
    parser.add_argument("--quick", action="store_true", help="three short rounds")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--isa", choices=["avx2"], help="the instructions that every library may use (all it knows)")
    parser.add_argument("--rounds", type=int, help="times that each library has its turn (7; 3 if quick)")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--check", action="store_true", help="compare results, time nothing")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--peers", default="", help="only these libraries beside fx, with commas between")
    parser.add_argument("--json", metavar="FILE", help="write the results to this file")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to this file, to be read")
    parser.add_argument("--png", metavar="FILE", help="draw ratios and roofline into this file")
    for name in ("--child", "--row", "--setting"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _chosen(pattern: str) -> list[tuple[str, Any]]:
    found = [(family, row) for family, rows in FAMILIES.items() for row in rows]
    return [(f, row) for f, row in found if re.search(pattern, f"{f}: {row.name}", re.IGNORECASE)]


def _measure_all(args: argparse.Namespace, rows: list[tuple[str, Any]]) -> list[Result]:
    libraries = [name for name in installed() if name == "fx" or not args.peers or name in args.peers.split(",")]
    rounds = 0 if args.check else args.rounds or (3 if args.quick else 7)
    budget = 0.03 if args.quick else 0.15
    pool, results = Pool(libraries, args.threads, not args.no_compile), []
    try:
        for _, row in rows:
            if isinstance(row, Row):
                results.append(pool.measure(row, rounds, budget))
            elif rounds:
                results.append(row.measure(environment(args.threads), rounds))
            else:
                continue
            print(line(results[-1]) if rounds else f"{results[-1].name}: {results[-1].notes or 'agree'}", flush=True)
    finally:
        pool.close()
    return results


def main() -> None:
    args = _arguments()
    by_name = {row.name: row for rows in FAMILIES.values() for row in rows}
    if args.worker:
        return serve(by_name)
    if args.child:
        return print(json.dumps(CHILDREN[args.child](by_name[args.row], args.setting)))
    if args.isa and not os.environ.items() >= AVX2_ONLY.items():  # libraries read it when they are loaded, and some are
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], os.environ | AVX2_ONLY)
    rows = _chosen(args.only)
    if args.list:
        return print("\n".join(f"{family}: {row.name}" for family, row in rows))
    if not rows:
        sys.exit(f"no row matches {args.only!r}; --list prints their names")
    print(
        f"{args.threads} threads{only(args.isa)}; medians in microseconds unless said; ratio = fx / best peer\n\n{header()}"
    )
    results = _measure_all(args, rows)
    print(f"\n{summary(results)}")
    measured = machine() if args.json or args.markdown or args.png else {}
    if args.json:
        with open(args.json, "w") as f:
            f.write(as_json(results, args.threads, measured, args.isa))
    if args.markdown:
        with open(args.markdown, "w") as f:
            by_family: dict[str, list[Result]] = {}
            for (family, _), result in zip(rows, results, strict=True):
                by_family.setdefault(family, []).append(result)
            f.write(as_markdown(by_family, args.threads, measured, args.isa))
    if args.png:
        draw(results, measured, args.png)
    if any(r.wrong for r in results):
        sys.exit(1)


if __name__ == "__main__":
    main()
