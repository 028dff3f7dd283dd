"""Whether a loader keeps up: the time of a pass with and without ``prefetch``, beside the time of its parts alone.

``python -m benchmarks.overlap``: reading a batch takes about as long as a step (both wait, as for a disk and a device, so
that the figure does not depend on the number of cores); perfect overlap is the longer of the two, none is their sum.
"""

from __future__ import annotations

import time

import numpy as np

from fx import data

BATCHES, READ, STEP = 40, 0.02, 0.02


def pipeline(prefetch: int, threads: int = 1) -> data.Dataset:
    def read(batch: np.ndarray) -> np.ndarray:
        time.sleep(READ)
        return batch

    batches = data.from_arrays(np.arange(BATCHES * 8)).shuffle(seed=0).batch(8).map(read)
    return batches.prefetch(prefetch, threads=threads) if prefetch else batches


def seconds(batches: data.Dataset, step: float) -> float:
    begun = time.perf_counter()
    for _ in batches:
        time.sleep(step)
    return time.perf_counter() - begun


def main() -> None:
    print(f"{BATCHES} batches; reading one takes {READ * 1e3:.0f} ms, a step {STEP * 1e3:.0f} ms")
    for name, batches, step in (
        ("reading alone", pipeline(0), 0.0),
        ("one after the other", pipeline(0), STEP),
        ("prefetch(2)", pipeline(2), STEP),
        ("prefetch(4, threads=2)", pipeline(4, 2), STEP),
        ("prefetch(8, threads=4), a step of 5 ms", pipeline(8, 4), STEP / 4),
    ):
        print(f"{name:40} {seconds(batches, step):6.2f} s")


if __name__ == "__main__":
    main()
