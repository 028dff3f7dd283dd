"""The table of results, as text and as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import math
import platform
from typing import Any

from .row import Goal, Result, over

__all__ = ["COLUMNS", "SCALING", "as_json", "as_markdown", "header", "line", "only", "summary"]

COLUMNS = ("fx", "numpy", "jax", "torch", "torch:compile", "autograd")
_UNITS = {"us": 1e-6, "ms": 1e-3, "MB": 1e6}
SCALING = 1.8
"""The gain from all threads over one that a row above 200 microseconds is held to (for two threads)."""


def _columns(result: Result) -> dict[str, float]:
    """The median of each library in its best setting."""
    best: dict[str, float] = {}
    for setting, value in result.median.items():
        column = "torch:compile" if setting.startswith("torch:compile") else setting.partition(":")[0]
        best[column] = min(value, best.get(column, math.inf))
    return best


def ratio(result: Result, of_minima: bool = False) -> float:
    """fx over the best peer; NaN where there is none."""
    return Goal(1.0).value(result.minimum if of_minima else result.median)


def scaling(result: Result) -> float:
    return over(result.median.get("fx1", math.nan), result.median.get("fx", math.nan))


def verdict(result: Result) -> bool | None:
    """Whether all goals are met; None if one of them cannot be told and no other is missed."""
    met = [goal.met(result.median) for goal in result.goals]
    return False if False in met else None if None in met else True


def _goal(goal: Goal, unit: str, value: float) -> str:
    if goal.against == "absolute":
        return f"<= {goal.limit / _UNITS[unit]:g} {unit}"
    whose = "" if goal.against == "peers" else f" of {goal.against} ({value:.2f})"
    return f"<= {goal.limit:g}{whose}"


def header() -> str:
    titles = "".join(f"{c.replace('torch:compile', 'compile'):>10}" for c in COLUMNS)
    return f"{'':58}{titles}{'+-':>6}{'ratio':>8}{'min':>6}{'1->n':>6}  goal"


def line(result: Result) -> str:
    """One line: medians in the row's unit, fx's spread, fx / best peer (of medians, of minima), gain of the threads, goals and whether they are met."""
    unit, columns, median = _UNITS[result.unit], _columns(result), result.median
    cells = "".join(f"{columns[c] / unit:10.4g}" if c in columns else f"{'-':>10}" for c in COLUMNS)
    if "fx" not in median:
        return f"{result.name:<58.58}{cells}  NOT MEASURED: {result.notes}"
    gain = f"{scaling(result):6.2f}" if "fx1" in median else f"{'':6}"
    quotient = (
        f"{ratio(result):8.2f}{ratio(result, of_minima=True):6.2f}" if not math.isnan(ratio(result)) else f"{'':14}"
    )
    goals = " and ".join(_goal(g, result.unit, g.value(median)) for g in result.goals)
    mark = {True: "met", False: "MISSED", None: "?"}[verdict(result)]
    faults = "".join(f"  {k}: {v}" for k, v in result.notes.items())
    name = f"{result.name} [{result.unit}]" if result.unit != "us" else result.name
    return f"{name:<58.58}{cells}{result.spread['fx'] * 100:5.0f}%{quotient}{gain}  {goals} {mark}{faults}"


def _met(results: list[Result]) -> str:
    told = [v for r in results if r.goals and (v := verdict(r)) is not None]
    return f"{sum(told)} of {len(told)} rows meet their goals"


def only(isa: str | None) -> str:
    """What stands behind the number of threads, where libraries were held to fewer instructions."""
    return f", {isa.upper()} at most" if isa else ""


def summary(results: list[Result]) -> str:
    """Counts of goals met, and of rows that gain enough from more threads."""
    gains = [scaling(r) for r in results if "fx1" in r.samples]
    wrong = [r.name for r in results if r.wrong]
    lines = [_met(results)]
    if gains:
        lines.append(
            f"{sum(g >= SCALING for g in gains)} of {len(gains)} rows above 200 us gain {SCALING} x or more from all threads"
        )
    if wrong:
        lines.append("results differ: " + ", ".join(wrong))
    return "\n".join(lines)


def as_markdown(
    families: dict[str, list[Result]], threads: int, machine: dict[str, float], isa: str | None = None
) -> str:
    """The tables for people to read, one a family: medians, ratios of the medians and of the fastest readings, goals."""
    head = ["work", *COLUMNS, "ratio", "of minima", "1→n", "goal", ""]
    text = [
        "# Results",
        f"{platform.machine()}, {_processor()}: {threads} threads each{only(isa)}; measured peak {machine['gflops']:.0f} GFLOP/s (float32), {machine['gbytes']:.1f} GB/s.",
        ", ".join(f"{name} {version}" for name, version in versions().items()) + ".",
        'Medians in microseconds unless said; ratio = fx / best peer, below 1 is faster; "of minima" compares the fastest readings; "1→n" is the'
        " gain of fx from all threads over one. PyTorch is eager and `torch.compile`, whichever is faster counts. Absolute times and single"
        " rows drift by tens of percent between runs.",
        summary([r for results in families.values() for r in results]).replace("\n", "; ") + ".",
    ]
    for family, results in families.items():
        table = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *map(_markdown_row, results)]
        text += [f"## {family.capitalize()}", "\n".join(table), f"{_met(results)}."]
    return "\n\n".join(text) + "\n"


def _markdown_row(r: Result) -> str:
    unit, columns = _UNITS[r.unit], _columns(r)
    cells = [f"{columns[c] / unit:.4g}" if c in columns else "" for c in COLUMNS]
    numbers = [ratio(r), ratio(r, of_minima=True), scaling(r)]
    goals = " and ".join(_goal(g, r.unit, g.value(r.median)) for g in r.goals)
    mark = {True: "met", False: "missed", None: ""}[verdict(r)]
    name = f"{r.name} [{r.unit}]" if r.unit != "us" else r.name
    cells = [name, *cells, *("" if math.isnan(x) else f"{x:.2f}" for x in numbers), goals, mark]
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def _processor() -> str:
    """The name that Linux gives the processor, else Python's."""
    try:
        with open("/proc/cpuinfo") as f:
            return next(x.partition(":")[2].strip() for x in f if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def as_json(results: list[Result], threads: int, machine: dict[str, float], isa: str | None = None) -> str:
    rows: list[dict[str, Any]] = [
        dataclasses.asdict(r) | {
            "median": r.median, "minimum": r.minimum, "spread": {k: _number(v) for k, v in r.spread.items()}, "ratio": _number(ratio(r)), "ratio_of_minima": _number(ratio(r, of_minima=True)),
            "scaling": _number(scaling(r)), "met": verdict(r), "samples": {k: len(v) for k, v in r.samples.items()},
        }
        for r in results
    ]  # fmt: skip
    about = {"threads": threads, "isa": isa, "platform": platform.platform(), "versions": versions(), **machine}
    return json.dumps({"about": about, "rows": rows}, indent=1)


def versions() -> dict[str, str]:
    """Of Python, of fx, and of the peers that are installed."""
    found = {"Python": platform.python_version()}
    for name, package in (
        ("fx", "fxjit"),
        ("NumPy", "numpy"),
        ("JAX", "jax"),
        ("PyTorch", "torch"),
        ("autograd", "autograd"),
    ):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(package)
    return found


def _number(x: float) -> float | None:
    return None if math.isnan(x) else x
