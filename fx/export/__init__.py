"""``fx.export``: compiled functions as bytes, to be called where the program that made them is not, under JAX's names.

>>> import fx, fx.numpy as fnp
>>> weights = fnp.arange(6.0).reshape(3, 2)
>>> predict = fx.jit(lambda x: {"scores": fnp.tanh(x @ weights)})
>>> blob = export(predict)(fx.ShapeDtypeStruct((4, 3), "float32")).serialize()
>>> deserialize(blob).call(fnp.zeros((4, 3)))["scores"].shape
(4, 2)

The bytes hold the graph, what the function closes over and the structure of arguments and results: numbers and names, no
Python code, so that reading them runs none.  They are for fx alone.  Kernels are compiled where it is called.
"""

from __future__ import annotations

from .encoding import FORMAT
from .exported import Exported, default_export_platform, deserialize, export
from .trees import register_namedtuple_serialization, register_pytree_node_serialization

maximum_supported_calling_convention_version = minimum_supported_calling_convention_version = FORMAT

__all__ = [
    "Exported", "default_export_platform", "deserialize", "export", "maximum_supported_calling_convention_version",
    "minimum_supported_calling_convention_version", "register_namedtuple_serialization", "register_pytree_node_serialization",
]  # fmt: skip
