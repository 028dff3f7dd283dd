"""``Exported``: a function that was traced for certain types, which can be written and called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..api import vjp
from ..array import Array, to_numpy
from ..dtypes import float0, is_inexact
from ..errors import ExportError
from ..ir import Aval, Graph
from ..staging import JitFunction, jit
from ..staging.jaxprs import ShapeDtypeStruct
from ..staging.primitive import jit_p
from ..trace import aval_of, bind
from ..traceback import user_frames
from ..transforms.custom_vjp import custom_vjp
from ..verify import verify_graph
from .encoding import FORMAT, Reader, Writer, read, write
from .trees import describe, rebuild

__all__ = ["Exported", "default_export_platform", "deserialize", "export"]


def default_export_platform() -> str:
    """The platform: "cpu"."""
    return "cpu"


@dataclasses.dataclass(frozen=True, eq=False)
class Exported:
    """A function of arrays of certain types.

    fun_name: what it is called.  in_tree, out_tree: the structures of ``(args, kwargs)`` and of the result.
    in_avals, out_avals: the types of their leaves.  graph: what it computes, of these leaves and what it closes over (consts).
    """

    fun_name: str
    graph: Graph
    consts: Sequence[Any]
    in_tree: tree.TreeDef
    out_tree: tree.TreeDef
    left_out: tuple[str, ...] = ()
    _get_vjp: Callable[[], Exported] | None = dataclasses.field(default=None, repr=False)

    platforms = ("cpu",)
    nr_devices = 1
    calling_convention_version = FORMAT

    @property
    def in_avals(self) -> tuple[Aval, ...]:
        return self.graph.in_avals[: self.in_tree.num_leaves]

    @property
    def out_avals(self) -> tuple[Aval, ...]:
        return self.graph.out_avals

    def __repr__(self) -> str:
        return (
            f"Exported({self.fun_name}: {', '.join(map(str, self.in_avals))} -> {', '.join(map(str, self.out_avals))})"
        )

    def mlir_module(self) -> str:
        """The graph as text, under JAX's name for what it exports."""
        return str(self.graph)

    @user_frames
    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The function, of arguments of the types that it was exported for; it can be jitted, mapped and differentiated.

        Raises:
            ExportError: other types, or another structure.  When it is differentiated, and it was read from bytes
                without its derivative, though it has one of its own.
        """
        leaves, in_tree = tree.flatten((args, kwargs))
        if in_tree != self.in_tree:
            raise ExportError(f"{self.fun_name} was exported for arguments {self.in_tree}; called with {in_tree}")
        for i, (x, a) in enumerate(zip(leaves, self.in_avals)):
            if not aval_of(x).same_type(a):
                raise ExportError(f"{self.fun_name} was exported for {a} as its input {i}; called with {aval_of(x)}")
        return tree.unflatten(self.out_tree, self._flat(*leaves))

    def _flat(self, *leaves: Any) -> list[Any]:
        if "derivative" not in self.left_out:
            return self._run(*leaves)
        f = custom_vjp(self._run)
        f.defvjp(lambda *xs: (self._run(*xs), xs), self._backward)
        return f(*leaves)

    def _backward(self, xs: Sequence[Any], cts: Sequence[Any]) -> tuple[Any, ...]:
        moving = [c for c, a in zip(cts, self.out_avals) if is_inexact(a.dtype)]
        found = iter(self.vjp()._run(*xs, *moving))
        return tuple([next(found) if is_inexact(a.dtype) else None for a in self.in_avals])

    def _run(self, *leaves: Any) -> list[Any]:
        return bind(jit_p, *leaves, *self.consts, graph=self.graph)

    def has_vjp(self) -> bool:
        """Whether ``vjp()`` is there: not where it was read from bytes that were written without it."""
        return self._get_vjp is not None

    def vjp(self) -> Exported:
        """The function of the leaves of the arguments, and a cotangent for each result that has one (floats and complex
        numbers), to a tuple of the cotangents of the arguments that have one.

        Raises:
            ExportError: it was written without it.
        """
        if self._get_vjp is None:
            raise ExportError(
                f"{self.fun_name} was written without its derivative: serialize(vjp_order=1) writes it too"
            )
        return self._get_vjp()

    @user_frames
    def serialize(self, vjp_order: int = 0) -> bytearray:
        """The function as bytes; ``vjp_order``: how many times it can be differentiated in reverse when it is read.

        Without rules of its own (``custom_vjp`` and its kin) a function can be differentiated all the same.

        Raises:
            ExportError: it calls Python functions, or its arguments hold a kind of node that cannot be written.
        """
        written = Writer()
        description: dict[str, Any] = {
            "function": self.fun_name,
            "graph": written.graph(self.graph),
            "graphs": written.graphs,
            "in_tree": describe(self.in_tree),
            "out_tree": describe(self.out_tree),
            "left_out": sorted(written.left_out.union(self.left_out)),
        }
        arrays = [to_numpy(c) for c in self.consts]
        if vjp_order > 0:
            arrays.append(np.frombuffer(self.vjp().serialize(vjp_order - 1), np.uint8))
            description["vjp"] = True
        return bytearray(write(description, arrays))


@user_frames
def export(
    fun_jit: JitFunction[Any, Any], *, platforms: Sequence[str] | None = None, disabled_checks: Sequence[Any] = ()
) -> Callable[..., Exported]:
    """A function of example arguments (arrays, or ``ShapeDtypeStruct``s) that gives the ``Exported`` of a jitted function.

    Raises:
        ExportError: ``fun_jit`` is not jitted, or ``platforms`` names another than "cpu".
    """
    if not isinstance(fun_jit, JitFunction):
        raise ExportError(f"export takes a jitted function: export(fx.jit(f)); found {type(fun_jit).__name__}")
    if platforms is not None and tuple(platforms) != ("cpu",):
        raise ExportError(f"platforms={list(platforms)}: there is 'cpu'")

    @user_frames
    def exported(*args: Any, **kwargs: Any) -> Exported:
        low = fun_jit.lower(*args, **kwargs)
        given = low.graph.in_avals[: low.in_tree.num_leaves]

        def flat(*xs: Any) -> list[Any]:
            return bind(jit_p, *xs, *low.captures, graph=low.graph)

        return Exported(
            low.name,
            low.graph,
            low.captures,
            low.in_tree,
            low.out_tree,
            _get_vjp=_vjp_of(low.name, flat, given, low.graph.out_avals),
        )

    return exported


def _vjp_of(
    name: str, flat: Callable[..., list[Any]], given: Sequence[Aval], made: Sequence[Aval]
) -> Callable[[], Exported]:
    """Exports the derivative when it is asked for."""

    def backward(*xs: Any) -> tuple[Any, ...]:
        moving = iter(xs[len(given) :])
        cts = [next(moving) if is_inexact(a.dtype) else np.zeros(a.shape, float0) for a in made]
        found = vjp(flat, *xs[: len(given)])[1](cts)
        return tuple([c for c, a in zip(found, given) if is_inexact(a.dtype)])

    def make() -> Exported:
        backward.__name__ = f"{name}_vjp"
        types = [*given, *[a for a in made if is_inexact(a.dtype)]]
        return export(jit(backward))(*[ShapeDtypeStruct(a.shape, a.dtype) for a in types])

    return make


@user_frames
def deserialize(blob: bytes | bytearray) -> Exported:
    """The function that ``serialize`` wrote.

    Raises:
        ExportError: the bytes are of another version's format, or not those that were written.
    """
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise ExportError(f"deserialize takes the bytes that serialize() gave; found {type(blob).__name__}")
    description, arrays = read(bytes(blob))
    try:
        graph = Reader(description["graphs"]).graph(description["graph"])
        in_tree, out_tree = rebuild(description["in_tree"]), rebuild(description["out_tree"])
        verify_graph(graph)
    except (KeyError, IndexError, TypeError, ValueError, AssertionError) as e:
        if isinstance(e, ExportError):
            raise
        raise ExportError(f"what these bytes say makes no sense: {e!r}") from e
    derivative = arrays.pop().tobytes() if description.get("vjp") else None
    return Exported(
        description["function"],
        graph,
        [Array(a) for a in arrays],
        in_tree,
        out_tree,
        tuple(description["left_out"]),
        None if derivative is None else lambda: deserialize(derivative),
    )
