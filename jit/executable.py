"""Executables: a graph bound to native code.

A call checks its arguments, allocates the results and makes one native call.  The mutable state of a call (frames and
arena) is an *instance*; instances are checked out for a call and returned after it, so concurrent calls, and calls
from callbacks of the same executable, each have their own.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fx.errors import BackendError
from fx.ir import Graph, Literal

from . import images
from .assembly import Assembly
from .calls.border import CARRAY, checker, separation
from .calls.results import maker
from .instance import Instance
from .load import Loaded
from .memory import aligned, give_arena, take_arena
from .on_demand import compiler
from .tape import Program
from .target import Target, host
from .threads import MAX_THREADS, num_threads

if TYPE_CHECKING:
    from .plan import FusionPlan
    from .program import LoopProgram

__all__ = ["Executable", "Options", "check_donate", "compile_graph", "resolved"]

ENGINES = ("llvm", "quick", "numba")
FROM_STORE = "taken from the store: the same graph was planned for this machine before"


@dataclass(frozen=True)
class Options:
    """How to compile.

    engine: 'llvm'; 'quick' (the same, without LLVM's optimisations: compiles sooner, runs slower); or 'numba' (the
        printed loops through Numba: slower to compile, an independent check).
    num_threads: None for ``jit.num_threads()``.
    donate: inputs whose memory may be overwritten and returned as an output.
    target: None for the machine we run on.
    fuse: False gives every equation a kernel of its own.
    verify: check the plan and the loop program before compiling.
    """

    engine: str = "llvm"
    num_threads: int | None = None
    donate: tuple[int, ...] = ()
    target: Target | None = None
    fuse: bool = True
    verify: bool = False

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise BackendError(f"engine={self.engine!r} is none of {', '.join(map(repr, ENGINES))}")
        n = self.num_threads
        if n is not None and not (isinstance(n, int) and 1 <= n <= MAX_THREADS):
            raise BackendError(f"num_threads={n!r}: a number of threads is an int from 1 to {MAX_THREADS}")


def check_donate(graph: Graph, donate: tuple[int, ...]) -> None:
    """Raises BackendError if ``donate`` names inputs that the graph does not have."""
    wrong = [i for i in donate if not (isinstance(i, int) and 0 <= i < len(graph.inputs))]
    if wrong:
        raise BackendError(
            f"donate={donate!r} names the input {wrong[0]!r}; {graph.name} has {len(graph.inputs)} inputs"
        )


class Executable:
    """A compiled graph: ``executable(*ndarrays) -> list[np.ndarray]``.

    It keeps what calls need, and plans its graph again for those who want to look at it.

    Attributes:
        fits: ``fits(*args)``, native code: whether the arguments can be handed to kernels as they are.
        graph, assembly: what was compiled, and what it became.
        compile_seconds: time from graph to executable.
        origin: whether it was planned in this process, and if it is not kept for the next, why.
        kernels_compiled, kernels_from_cache: how many kernels were compiled, and read from the store on disk.
    """

    def __init__(
        self, graph: Graph, options: Options, assembly: Assembly, loaded: Loaded, plan: Callable[[], LoopProgram]
    ) -> None:
        self.graph = graph
        self.options = options
        self.assembly = assembly
        self.kernels_compiled, self.kernels_from_cache = loaded.compiled, loaded.cached
        self._addresses = loaded.addresses
        self._plan = plan
        self._planned: Callable[[], LoopProgram | None] = lambda: None
        self.fits = checker(assembly.takes)
        self._make_results = maker(assembly.makes)
        self._apart: Callable[..., bool] | None = None  # where nothing is overwritten nothing needs checking
        if assembly.overwritten:
            sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in assembly.takes]
            self._apart = separation(sizes, assembly.overwritten)
        self._plain = all(kind == "buffer" for kind, _ in assembly.outputs)
        self._free: list[Instance] = [self._instance()]
        self.compile_seconds = 0.0
        self.origin = "planned in this process"

    @property
    def program(self) -> LoopProgram:
        """The steps: planned again, unless somebody still holds those planned before."""
        program = self._planned()
        if program is None:
            program = self._plan()
            self._planned = weakref.ref(program)
        return program

    @property
    def plan(self) -> FusionPlan:
        return self.program.plan

    @property
    def arena_bytes(self) -> int:
        """Working memory of one call."""
        return self.assembly.arena_bytes

    def __call__(self, *args: np.ndarray) -> list[np.ndarray]:
        return self.run(*(args if self.fits(*args) else self._admit(args)))

    def run(self, *args: np.ndarray) -> list[np.ndarray]:
        """The same for arguments that ``fits`` has said yes to."""
        if self._apart is not None and not self._apart(*args):
            args = self._protect(args)
        outs = self._make_results()
        try:
            instance = self._free.pop()
        except IndexError:
            instance = self._instance()
        try:
            if instance.shared_arena:
                self._run_in_arena(instance, args, outs)
            else:
                instance.run(*args, *outs)
        finally:
            self._free.append(instance)
        return outs if self._plain else self._assemble(args, outs)

    def launched(self) -> Program:
        """A native program of the caller's own: it takes the inputs, arrays for the results, and the arena if that is shared."""
        return (self._free.pop() if self._free else self._instance()).program

    def dense(self, *args: np.ndarray) -> tuple[np.ndarray, ...] | None:
        """The arguments in memory that ``fits``, copied where they lie otherwise; None if they are not of this signature."""
        for a, (shape, dtype) in zip(args, self.assembly.takes):
            if type(a) is not np.ndarray or a.dtype != dtype or a.shape != shape:
                return None
        return tuple(a if a.flags.num & CARRAY == CARRAY else a.copy("C") for a in args)

    def _run_in_arena(self, instance: Instance, args: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        arena = take_arena(self.arena_bytes)
        try:
            instance.run(*args, *outs, arena.address)
        finally:
            give_arena(arena)

    def _instance(self) -> Instance:
        return Instance(self.assembly, self._addresses)

    def _admit(self, args: Sequence[Any]) -> tuple[np.ndarray, ...]:
        """The arguments as kernels want them: native, dense, aligned; copied only where they are not."""
        if len(args) != len(self.assembly.takes):
            raise BackendError(f"{self.graph.name} takes {len(self.assembly.takes)} arrays, {len(args)} given")
        return tuple(_dense(k, a, *s) for k, (a, s) in enumerate(zip(args, self.assembly.takes)))

    def _protect(self, args: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Copies donated arguments that must not be written to: read-only ones, and those that share memory with
        another argument."""
        spans = sorted((a.__array_interface__["data"][0], k) for k, a in enumerate(args) if a.nbytes)
        shared: set[int] = set()
        end, longest = 0, -1  # of the arrays so far, the one that reaches furthest
        for start, k in spans:
            if start < end:
                shared |= {k, longest}
            if start + args[k].nbytes > end:
                end, longest = start + args[k].nbytes, k
        copies = {k for k in self.assembly.overwritten if k in shared or not args[k].flags.writeable}
        return tuple(a.copy() if k in copies else a for k, a in enumerate(args))

    def _assemble(self, args: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results in the order of the graph's outputs."""
        found: list[np.ndarray] = []
        for kind, what in self.assembly.outputs:
            if kind == "literal":
                assert isinstance(what, Literal)
                found.append(np.asarray(what.value, what.aval.dtype))
            else:
                found.append((outs if kind == "buffer" else args)[cast(int, what)])
        return found

    def profile(self, *args: np.ndarray) -> list[tuple[str, int]]:
        """Runs once; name and nanoseconds of every native step."""
        args = self._protect(self._admit(args))
        outs = self._make_results()
        instance = self._instance()
        arena = [aligned(self.arena_bytes)] if instance.shared_arena else []
        names = compiler().wired(self.program).names
        return list(zip(names, map(int, instance.program.profile(*args, *outs, *arena))))

    def explain(self) -> str:
        """Each kernel with its equations, the reason of every decision, flops, bytes and buffers; where the program is from."""
        return f"{compiler().explain(self.program)}\n\n{self.origin}"

    def loops(self) -> str:
        """The printed loops of every kernel, in program order."""
        return "\n".join(compiler().kernel_text(h) for h in self.program.kernels)

    def inspect_llvm(self) -> str:
        """The LLVM IR of every kernel after LLVM's passes."""
        return compiler().llvm_text(self.program, self._target)

    def inspect_asm(self) -> str:
        """The assembly of every kernel, for the machine that the program is for."""
        return compiler().assembly_text(self.program, self._target)

    @property
    def _target(self) -> Target:
        assert self.options.target is not None
        return self.options.target

    def cost_analysis(self) -> dict[str, Any]:
        """Flops, bytes, kernels and arena of one call."""
        return compiler().cost_analysis(self.program)  # type: ignore[no-any-return]


def compile_graph(graph: Graph, options: Options | None = None) -> Executable:
    """Compiles a closed graph.

    Raises:
        LoweringError: for a primitive without native loops; the message names it and where it was written.
    """
    start = time.perf_counter()
    options = resolved(options or Options())
    check_donate(graph, options.donate)

    def plan() -> LoopProgram:
        return compiler().drafted(graph, options).finished()  # type: ignore[no-any-return]

    place = images.place(graph, options)
    found = place.find(graph)
    assembly, loaded = found or compiler().planned(graph, options)
    executable = Executable(graph, options, assembly, loaded, plan)
    executable.origin = FROM_STORE if found else place.keep(assembly, loaded.kernels)
    executable.compile_seconds = time.perf_counter() - start
    return executable


def resolved(options: Options) -> Options:
    """The options with the machine and the threads of this process, where they name none."""
    target = options.target or host()
    if options.engine == "numba":
        target = target.restricted("scalar")  # the printed text has no vectors
    return replace(options, target=target, num_threads=options.num_threads or num_threads())


def _dense(k: int, a: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    a = np.asarray(a)
    if a.shape != shape or a.dtype.newbyteorder("=") != dtype:
        raise BackendError(f"argument {k} is {a.dtype}{list(a.shape)}; the graph was compiled for {dtype}{list(shape)}")
    return np.require(a, dtype, ("C", "A")).reshape(shape).view(np.ndarray)
