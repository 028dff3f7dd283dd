"""What other libraries call otherwise, for the messages of steps and arguments that are not known."""

from __future__ import annotations

from ..misnamed import explained

__all__ = ["STEPS", "step"]

step = explained(
    {
        "batch_size": "size", "buffer_size": "buffer", "count": "times", "drop_remainder": "drop_last", "epochs": "times", "fn": "f",
        "func": "f", "function": "f", "map_func": "f", "num_parallel_calls": "prefetch(threads=...) computes in threads what comes before it.",
        "num_workers": "threads", "prefetch_factor": "buffer", "rng": "seed|key", "shuffle": "It is a step of its own: .shuffle(seed=0).batch(32).",
    }
)  # fmt: skip
"""Of the steps of a ``Dataset``."""

STEPS = {
    "as_numpy_iterator": "Its elements are NumPy arrays as they are: for element in dataset.",
    "cache": "elements = list(dataset) keeps what was computed, data.from_iterator(lambda: iter(elements)) gives it again.",
    "concatenate": "It is data.from_iterator(lambda: itertools.chain(a, b)).", "enumerate": "Python's enumerate(dataset) counts.",
    "group_by_window": "map pads examples to one length before they are batched.", "interleave": "It is data.from_iterator, of what itertools makes.",
    "padded_batch": "map pads examples to one length before they are batched.", "random_split": "train, held_out = data.split(len(x), 0.1) gives positions of both parts.",
    "unbatch": "It is data.from_iterator(lambda: (row for batch in dataset for row in zip(*batch))).",
    "zip": "Arrays that belong together are one data set: data.from_arrays((x, y)).",
}  # fmt: skip
"""Steps of tf.data and PyTorch that are none here."""
