"""Prints what the parts of the package compute, as JSON: ``python -m written_for_jax``, on JAX itself or on fx."""

import json
import sys

import numpy as np

from written_for_jax import modules, operations, sampling


def _written(x):
    x = np.asarray(x)
    return {"dtype": str(x.dtype), "shape": x.shape, "values": x.ravel().tolist()}


def main():
    import jax

    found = {}
    for part in (modules, operations, sampling):
        for name, value in part.results().items():
            found[f"{part.__name__} {name}"] = [_written(x) for x in jax.tree.leaves(value)]
    print(json.dumps({"arguments": sys.argv[1:], "found": found}))


main()
