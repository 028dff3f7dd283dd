"""``jit``: the signature cache, the jit primitive, and the stages that can be looked at.

A call finds its compiled program by *signature*: the structure of the arguments, each leaf's shape, dtype and
weakness, and the static arguments.  A new signature is traced into a Graph and compiled; one that differs from a known
one in sizes alone becomes a *family* (``families``), whose other members are filled in instead.  The programs belong to the
function: all ``jit`` objects of one function share them (``sharing``).

The jit primitive holds the traced graph.  Its derivative is a jit of the primal graph (residuals as extra
outputs) and a jit of the tangent graph; its transpose and its batched form are jits too.
"""

from __future__ import annotations

from .function import JitFunction, clear_caches, jit
from .jaxprs import ShapeDtypeStruct, TracedGraph
from .lowered import ArgInfo, Compiled, Lowered, Traced
from .primitive import executable_of, jit_p

__all__ = [
    "ArgInfo", "Compiled", "JitFunction", "Lowered", "ShapeDtypeStruct", "Traced", "TracedGraph", "clear_caches", "executable_of", "jit",
    "jit_p",
]  # fmt: skip
