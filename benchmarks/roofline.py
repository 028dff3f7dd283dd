"""What the machine can do: the rate of multiply-adds and the bandwidth of memory; and the picture of all rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from .report import ratio
from .row import Result

__all__ = ["draw", "machine"]


def _best(f: Callable[[], object], seconds: float = 0.5) -> float:
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter() - start)
    return best


def machine() -> dict[str, float]:
    """Peak GFLOP/s of float32 products (the best of fx's and NumPy's at three sizes) and GB/s of a copy of 64 MB."""
    import fx

    product = fx.jit(lambda a, b: a @ b)
    rng = np.random.default_rng(0)
    peak = 0.0
    for n in (256, 512, 768):
        a = rng.standard_normal((n, n), dtype=np.float32)
        x = fx.numpy.asarray(a)
        product(x, x)
        seconds = min(_best(lambda: product(x, x)), _best(lambda: a @ a))
        peak = max(peak, 2.0 * n**3 / seconds / 1e9)
    source = np.ones(16 << 20, np.float32)
    target = np.empty_like(source)
    np.copyto(target, source)
    bandwidth = max(2.0 * source.nbytes / _best(lambda: np.copyto(target, source)) / 1e9, _read(source))
    return {"gflops": peak, "gbytes": bandwidth}


def _read(x: np.ndarray) -> float:
    """GB/s of fx summing an array, on all threads."""
    import fx

    total, a = fx.jit(lambda x: x.sum()), fx.numpy.asarray(x)
    total(a)
    return x.nbytes / _best(lambda: total(a)) / 1e9


def draw(results: list[Result], measured: dict[str, float], file: str) -> None:
    """Bars of fx / best peer, and the roofline with every row that states its work."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    bars = [r for r in results if not math.isnan(ratio(r))]
    points = [r for r in results if r.nbytes and "fx" in r.samples]
    height = max(6.0, 0.17 * len(bars))
    figure, (left, right) = plt.subplots(1, 2, figsize=(18, height), width_ratios=(1, 1.2), layout="constrained")
    values = [ratio(r) for r in bars]
    colours = ["tab:green" if all(g.met(r.median) is not False for g in r.goals) else "tab:red" for r in bars]
    left.barh([r.name for r in bars], values, color=colours)
    left.axvline(1.0, color="black", linewidth=0.8)
    left.set(xscale="log", xlabel="fx / best peer (green: goal met)")
    left.invert_yaxis()
    left.margins(y=0.002)
    left.tick_params(axis="y", labelsize=7)

    flops, nbytes = measured["gflops"] * 1e9, measured["gbytes"] * 1e9
    intensity = np.logspace(-2, 3, 100)
    right.plot(intensity, np.minimum(flops, intensity * nbytes) / 1e9, color="black")
    for (
        r
    ) in points:  # where no multiply-adds are counted, the bytes stand for the work, at one operation for four of them
        work = r.flops or r.nbytes / 4
        right.plot(
            work / r.nbytes, work / r.median["fx"] / 1e9, "o" if r.flops else "x", color="tab:blue", markersize=4
        )
        right.annotate(r.name, (work / r.nbytes, work / r.median["fx"] / 1e9), fontsize=4)
    right.set(xscale="log", yscale="log", xlabel="flop / byte", ylabel="GFLOP/s (x: bytes / 4 counted as work)")
    right.set_title(f"measured: {measured['gflops']:.0f} GFLOP/s of products, {measured['gbytes']:.1f} GB/s of memory")
    figure.savefig(file, dpi=110)
    plt.close(figure)
