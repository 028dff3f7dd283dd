"""Loop language -> LLVM IR, as text.

Text, because llvmlite's builder spends more time than LLVM does.  The loop language is structured, so the
SSA form follows in one walk: a mutable local that a loop or branch assigns becomes a phi at its head or its
end, and no ``alloca`` is needed.  The same walk does what would cost LLVM a pass each:

* An ``Expr`` object used twice in a block is computed once: for good if it reads neither memory nor a mutable
  local, else until the next store or assignment.
* What is computed from values outside a loop is computed before it.  A load or an integer division moves
  only out of the innermost loop, to where that loop is known to run at least once.

What the IR tells LLVM beyond the arithmetic: pointer parameters never overlap (each has an alias scope, and
stores name all the others); iterations of ``For(vectorize=True)`` are independent (``parallel_accesses``);
reductions in such a loop may be reassociated (``reassoc nsz`` on exactly these operations).  Nothing else
carries fast-math flags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fx.errors import GraphError

from ..loop_ir import (
    IMPLICIT,
    LINE_BYTES,
    Alloc,
    Assign,
    Call,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Op,
    Place,
    Prefetch,
    Ref,
    Stmt,
    Store,
    Ty,
    While,
    i64,
)
from ..loop_walk import (
    assigned,
    has_vectors,
    is_any,
    is_innermost,
    statements,
    stored,
)
from ..target import Target
from .lanes import compress_table
from .places import HERE, SUMS, Places, counted_loops
from .remainders import fmod_functions
from .text import Metadata, constant, memory_mangled, memory_type, register_type
from .whole_numbers import whole_number_functions

# Reductions: a local combined with a new value by one of these.  A difference is the sum of negated values.
_REDUCTIONS = ("add", "mul", "min", "max", "minnum", "maxnum")


def emit_module(kernels: Sequence[Kernel], target: Target, module_name: str = "fx") -> str:
    """LLVM IR that defines ``void name(ptr frame, i64 lo, i64 hi, i64 worker)`` for every kernel."""
    metadata = Metadata()
    bodies: list[str] = []
    fmods: set[Ty] = set()
    whole: set[tuple[str, Ty]] = set()
    tables: set[int] = set()
    for kernel in kernels:
        f = _Function(kernel, target, metadata)
        bodies.append(f.text())
        fmods |= f.fmod_types
        whole |= f.whole_number_functions
        tables |= f.compress_tables
    width = target.vector_bits if target.vector_bits > 64 else 128
    # no-builtins: a loop that copies or fills stays a loop, as there is no library whose function could do it (``native``)
    attributes = f'nounwind "no-builtins" "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'
    groups = [f"attributes #0 = {{ {attributes} }}", f"attributes #1 = {{ {attributes} alignstack={width // 8} }}"]
    helpers = fmod_functions(fmods, target.fma) + whole_number_functions(whole)
    helpers += [compress_table(n) for n in sorted(tables)]
    head = f'; ModuleID = "{module_name}"\ntarget triple = "{target.triple}"\n'
    return "\n".join([head, *bodies, *helpers, *groups, *metadata.lines, ""])


def spills(kernel: Kernel, target: Target) -> bool:
    """Whether values take several registers each, so that some are kept in memory.  An aligned stack costs a register, but
    a vector that crosses a cache line there takes several times as long."""
    width = target.vector_bits
    return any(isinstance(s, Let) and s.value.ty.lanes * s.value.ty.bits > width > 128 for s in statements(kernel.body))


class _Function(Places):
    """One kernel.  ``label`` is the block that instructions are being appended to."""

    def __init__(self, kernel: Kernel, target: Target, metadata: Metadata) -> None:
        super().__init__(target)
        self.kernel = kernel
        self.ours = counted_loops(kernel)
        self.metadata = metadata
        self.label = "entry"
        self.labels = 0
        self.env: dict[str, str] = {n: f"%{n}" for n in IMPLICIT}  # the value a name has now
        self.types: dict[str, Ty] = dict.fromkeys(IMPLICIT, i64)
        self.mutable: set[str] = set()
        self.declared: list[str] = []  # names of the open blocks, in order of declaration
        self.pointers: dict[str, str] = {}
        self.allocas: list[str] = []
        self.scratch_types: dict[str, Ty] = {}
        self.pure: dict[int, str] = {}  # id(Expr) -> value, for expressions that cannot change
        self.pure_order: list[int] = []
        self.impure: dict[int, str] = {}  # the others; forgotten at every store and assignment
        self.scope: dict[str, str] = {}  # metadata behind the loads of a parameter, and behind its stores
        self.store_scope: dict[str, str] = {}
        self.access_group = ""
        self.reducing: set[str] = set()  # locals declared outside the vectorised loop we are in
        self.loop_stores: list[set[str]] = []  # for every open loop, the buffers that it writes to
        self.sums_around = False  # the loop that we are in carries vectors
        self.goes_past = False  # some stores go past the caches

    def text(self) -> str:
        params = self._parameters()
        self.block(self.kernel.body)
        group = int(spills(self.kernel, self.target))
        head = f'define void @"{self.kernel.name}"(ptr %frame, i64 %lo, i64 %hi, i64 %worker) #{group} {{\nentry:'
        end = ["  fence seq_cst"] if self.goes_past else []  # what goes past the caches is seen by all from here on
        return "\n".join([head, *params, *self.allocas, *_flat(self.lines), *end, "  ret void", "}", ""])

    def _parameters(self) -> list[str]:
        """The loads of the parameters from the frame, in LLVM's words."""
        lines = []
        for k, p in enumerate(self.kernel.params):
            t = "ptr" if p.pointer else "i64"
            lines.append(f"  %a{k} = getelementptr inbounds i64, ptr %frame, i64 {k}")
            lines.append(f"  %p{k} = load {t}, ptr %a{k}, align 8")
            (self.pointers if p.pointer else self.env)[p.name] = f"%p{k}"
            self.types[p.name] = p.ty
        if len(self.pointers) > 1:
            self._alias_scopes()
        return lines

    def _alias_scopes(self) -> None:
        """A store cannot touch what any other parameter points to.

        It is enough that stores say so: two loads never conflict.
        """
        domain = self.metadata.node("!self", distinct=True)
        scopes = {p: self.metadata.node(f"!self, {domain}", distinct=True) for p in self.pointers}
        written = set(stored(self.kernel.body))
        for p, s in scopes.items():
            own = f", !alias.scope {self.metadata.node(s)}"
            self.scope[p] = own
            if p in written:
                others = ", ".join(o for q, o in scopes.items() if q != p)
                self.store_scope[p] = f"{own}, !noalias {self.metadata.node(others)}"

    # ----------------------------------------------------------------------------------- expressions

    def value(self, e: Expr, flags: str = "") -> str:
        """The SSA value or constant that ``e`` has here."""
        kind = type(e)
        if kind is Const:
            return constant(e.value, e.ty)  # type: ignore[union-attr]
        if kind is Ref:
            return self.env[e.name]  # type: ignore[union-attr]
        key = id(e)
        known = self.pure.get(key) or self.impure.get(key)
        if known is not None and not flags:
            return known
        if kind is Load:
            v = self.impure[key] = self.load(e)  # type: ignore[arg-type]
            return v
        if kind is not Op:
            raise GraphError(f"{kind.__name__} is not an expression of the loop language")
        return self.operation(e, flags)  # type: ignore[arg-type]

    def operation(self, e: Op, flags: str) -> str:
        key = id(e)
        args: list[str] = []
        types: list[Ty] = []
        level = 0
        changes = False
        for a in e.args:
            v = self.value(a)
            args.append(v)
            types.append(a.ty)
            level = max(level, self.levels.get(v, 0))
            changes = changes or id(a) in self.impure or (type(a) is Ref and a.name in self.mutable)
        grown = self.grown(*args) if e.name == "mul" and e.ty == i64 else ""
        with self.hoisted(level, may_trap=_may_trap(e)):
            v = grown or self.op(e.name, e.ty, tuple(types), args, flags)
        if e.name in SUMS and e.ty == i64:
            self.sums[v] = e.name, args[0], args[1]
        if changes:
            self.impure[key] = v
        else:
            self.pure[key] = v
            self.pure_order.append(key)
        return v

    def address(self, buf: str, index: Expr, ty: Ty, inbounds: bool = True) -> str:
        base, t = self.pointers[buf], memory_type(ty.scalar)
        offset = self.value(index)
        if offset == "0":
            return base
        if not self.counters or self.counters[-1] is None:
            return self.element(base, offset, t, inbounds)
        return self.pointer(base, offset, t, ty.scalar.itemsize)

    def load(self, e: Load) -> str:
        address = self.address(e.buf, e.index, e.ty)
        t = memory_type(e.ty)
        group = self.access_group if e.buf in self.types else ""
        if e.mask is not None:
            return self.masked_load(e, address)
        fixed = self.level > 0 and e.buf not in self.loop_stores[-1]
        with self.hoisted(self.levels.get(address, 0), may_trap=True) if fixed else HERE:
            v = self.ins(f"load {t}, ptr {address}, align {e.ty.itemsize}{self.scope.get(e.buf, '')}{group}")
            return self.truth(v, e.ty.lanes) if e.ty.kind == "b" else v

    def truth(self, v: str, lanes: int) -> str:
        """Booleans, which lie in bytes, from there."""
        return self.ins(f"icmp ne {memory_type(Ty('b', 1, lanes))} {v}, {constant(0, Ty('i', 8, lanes))}")

    def masked_load(self, e: Load, address: str) -> str:
        assert e.mask is not None
        mask, lanes, t = self.value(e.mask), e.ty.lanes, memory_type(e.ty)
        v = self.ins(
            f"call {t} @llvm.masked.load.{memory_mangled(e.ty)}.p0(ptr align {e.ty.itemsize} {address},"
            f" <{lanes} x i1> {mask}, {t} zeroinitializer){self.scope.get(e.buf, '')}"
        )
        return self.truth(v, lanes) if e.ty.kind == "b" else v

    # ------------------------------------------------------------------------------------ statements

    def block(self, stmts: Sequence[Stmt]) -> None:
        for s in stmts:
            if isinstance(s, Let):
                self.declare(s.name, s.value.ty, self.value(s.value), s.mutable)
            elif isinstance(s, Assign):
                self.assign(s)
            elif isinstance(s, Store):
                self.store(s)
            elif isinstance(s, For):
                self.for_(s)
            elif isinstance(s, While):
                self.while_(s)
            elif isinstance(s, If):
                self.if_(s)
            elif isinstance(s, Alloc):
                self.alloc(s)
            elif isinstance(s, Call):
                self.call(s)
            elif isinstance(s, Prefetch):
                self.prefetch(s)
            elif isinstance(s, Comment):
                self.lines.append(f"  ; {s.text.replace(chr(10), ' ')}")
            else:
                raise GraphError(f"{type(s).__name__} is not a statement of the loop language")

    def declare(self, name: str, ty: Ty, value: str, mutable: bool = False) -> None:
        self.env[name] = value
        self.types[name] = ty
        self.declared.append(name)
        if mutable:
            self.mutable.add(name)

    @contextmanager
    def scoped(self) -> Iterator[None]:
        """A block: what it declares and computes ends with it."""
        names, values = len(self.declared), len(self.pure_order)
        self.impure.clear()
        yield
        for name in self.declared[names:]:
            del self.env[name]
            self.mutable.discard(name)
        for key in self.pure_order[values:]:
            self.pure.pop(key, None)
        del self.declared[names:], self.pure_order[values:]
        self.impure.clear()

    def assign(self, s: Assign) -> None:
        e = s.value
        flags = "reassoc nsz " if s.name in self.reducing and _is_reduction(s.name, e) else ""
        self.env[s.name] = self.value(e, flags)
        self.impure.clear()

    def store(self, s: Store) -> None:
        ty, t = s.value.ty, memory_type(s.value.ty)
        v = self.value(s.value)
        address = self.address(s.buf, s.index, ty)
        if ty.kind == "b":
            v = self.ins(f"zext {register_type(ty)} {v} to {t}")
        if s.mask is not None:
            mask = self.value(s.mask)
            self.lines.append(
                f"  call void @llvm.masked.store.{memory_mangled(ty)}.p0({t} {v}, ptr align {ty.itemsize} {address},"
                f" <{ty.lanes} x i1> {mask}){self.store_scope.get(s.buf, '')}"
            )
            self.impure.clear()
            return
        hints = self.store_scope.get(s.buf, "") + (self.access_group if s.buf in self.types else "")
        align = ty.itemsize
        if s.past and ty.lanes > 1:
            self.goes_past, align = True, min(ty.lanes * ty.itemsize, LINE_BYTES)
            hints += f", !nontemporal {self.metadata.past()}"
        self.lines.append(f"  store {t} {v}, ptr {address}, align {align}{hints}")
        self.impure.clear()

    def prefetch(self, s: Prefetch) -> None:
        address = self.address(s.buf, s.index, self.types[s.buf], inbounds=False)
        self.lines.append(f"  call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 {4 - s.level}, i32 1)")

    def call(self, s: Call) -> None:
        types = {**self.types, **self.scratch_types}
        args = [
            f"ptr {self.address(a.buf, a.index, types[a.buf])}" if isinstance(a, Place) else f"i64 {self.value(a)}"
            for a in s.args
        ]
        function = self.ins(f"inttoptr i64 {self.value(s.function)} to ptr")
        self.lines.append(f"  call void {function}({', '.join(args)})")
        self.impure.clear()

    def alloc(self, s: Alloc) -> None:
        name = f"%s{len(self.allocas)}"
        self.allocas.append(f"  {name} = alloca [{s.size} x {memory_type(s.ty)}], align 64")
        self.pointers[s.name], self.scratch_types[s.name] = name, s.ty

    # ---------------------------------------------------------------------------------- control flow

    def new_label(self, kind: str) -> str:
        self.labels += 1
        return f"{kind}{self.labels}"

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def jump(self, label: str) -> None:
        self.lines.append(f"  br label %{label}")

    def branch(self, cond: str, then: str, orelse: str, metadata: str = "") -> None:
        self.lines.append(f"  br i1 {cond}, label %{then}, label %{orelse}{metadata}")

    def phi(self, ty: Ty, *incoming: tuple[str, str]) -> str:
        """``incoming``: pairs of a value and the block it comes from."""
        return self.ins(f"phi {register_type(ty)} " + ", ".join(f"[ {v}, %{b} ]" for v, b in incoming))

    def carried(self, *blocks: Sequence[Stmt]) -> list[str]:
        """The locals of this scope that the blocks assign, in a fixed order."""
        return [n for n in dict.fromkeys(n for b in blocks for n in assigned(b)) if n in self.env]

    def loop_phis(self, names: list[str], before: str) -> int:
        """Opens a phi for every name; ``close_phis`` fills in what comes round the loop.  Returns their line."""
        first = len(self.lines)
        for n in names:
            self.env[n] = self.ins(f"phi {register_type(self.types[n])} [ {self.env[n]}, %{before} ]")
        return first

    def close_phis(self, names: list[str], first: int) -> None:
        for k, n in enumerate(names):
            self.lines[first + k] += f", [ {self.env[n]}, %{self.label} ]"

    def for_(self, s: For) -> None:
        """Guarded and tested at the bottom, the form in which LLVM's loop passes want a loop."""
        start, stop = self.value(s.start), self.value(s.stop)
        names = self.carried(s.body)
        before, old = self.label, {n: self.env[n] for n in names}
        enter, body, end = self.new_label("enter"), self.new_label("for"), self.new_label("end")
        runs = isinstance(s.start, Const) and isinstance(s.stop, Const) and s.start.value < s.stop.value
        if runs:
            self.jump(enter)
        else:
            self.branch(self.ins(f"icmp slt i64 {start}, {stop}"), enter, end)
        self.start(enter)
        with self.loop(s.body):
            self.jump(body)
            self.start(body)
            first = self.loop_phis(names, enter)
            index_line = len(self.lines)
            index = self.ins(f"phi i64 [ {start}, %{enter} ]")
            metadata, outer = self._loop_metadata(s), (self.access_group, self.reducing)
            if id(s) in self.ours:
                self.open_counter(index, start, s.step, enter, self.sums_around)
            outside, self.sums_around = self.sums_around, any(self.types[n].lanes > 1 for n in names)
            if metadata and s.vectorize:
                self.reducing = set(names)
            with self.scoped():
                self.declare(s.var, i64, index)
                self.block(s.body)
            following = self.counted(index, s.step, self.label)
            self.access_group, self.reducing = outer
            self.sums_around = outside
            self.lines[index_line] += f", [ {following}, %{self.label} ]"
            self.close_phis(names, first)
            latch = self.label
            again = self.ins(f"icmp sgt i64 {stop}, {following}")  # unlike the guard: LLVM would make them one
            self.branch(again, body, end, metadata)
        self.start(end)
        for n in names:
            round_ = (self.env[n], latch)
            self.env[n] = self.phi(self.types[n], round_) if runs else self.phi(self.types[n], (old[n], before), round_)

    @contextmanager
    def loop(self, body: Sequence[Stmt], runs: bool = True) -> Iterator[None]:
        """Opens a loop: what is appended next may be moved to this place.  ``runs``: the body runs at least once."""
        self.open_place()
        self.loop_stores.append(set(stored(body)))
        certain, self.certain = self.certain, runs
        yield
        self.certain = certain
        self.close_place()
        self.loop_stores.pop()

    def _loop_metadata(self, s: For) -> str:
        """What LLVM may do with the loop; opens the access group of a vectorised one."""
        if not is_innermost(s):
            return ""
        if s.vectorize and self.target.vector_bits > 64:
            group = self.metadata.node("", distinct=True)
            self.access_group = f", !llvm.access.group {group}"
            parallel = self.metadata.node(f'!"llvm.loop.parallel_accesses", {group}')
            return f", !llvm.loop {self.metadata.node(f'!self, {parallel}', distinct=True)}"
        if has_vectors(s.body):
            disable = self.metadata.node('!"llvm.loop.vectorize.enable", i1 false')
            return f", !llvm.loop {self.metadata.node(f'!self, {disable}', distinct=True)}"
        return ""

    def while_(self, s: While) -> None:
        names = self.carried(s.body)
        before = self.label
        head, body, end = self.new_label("while"), self.new_label("do"), self.new_label("end")
        with self.loop(s.body, runs=False):
            self.jump(head)
            self.start(head)
            first = self.loop_phis(names, before)
            at_head = {n: self.env[n] for n in names}
            with self.scoped():
                cond = self.value(s.cond)
            self.branch(cond, body, end)
            self.start(body)
            with self.scoped():
                self.block(s.body)
            self.close_phis(names, first)
            self.jump(head)
        self.start(end)
        for n in names:
            self.env[n] = self.phi(self.types[n], (at_head[n], head))

    def if_(self, s: If) -> None:
        cond = self.value(s.cond)
        names = self.carried(s.then, s.orelse)
        before, old = self.label, {n: self.env[n] for n in names}
        then, end = self.new_label("then"), self.new_label("end")
        orelse = self.new_label("else") if s.orelse else end
        rarely = f", !prof {self.metadata.rarely()}" if is_any(s.cond) else ""
        self.branch(cond, then, orelse, rarely)
        ends = [(before, old)] if not s.orelse else []
        certain, self.certain = self.certain, False
        for label, stmts in ((then, s.then), (orelse, s.orelse)):
            if label == end:
                continue
            self.env.update(old)
            self.start(label)
            with self.scoped():
                self.block(stmts)
            ends.append((self.label, {n: self.env[n] for n in names}))
            self.jump(end)
        self.certain = certain
        self.start(end)
        for n in names:
            self.env[n] = self.phi(self.types[n], *((values[n], block) for block, values in ends))
        self.impure.clear()


def _may_trap(e: Op) -> bool:
    return e.name in ("div", "rem") and not e.ty.is_float and not isinstance(e.args[1], Const)


def _flat(lines: list[Any]) -> Iterator[str]:
    for line in lines:
        if isinstance(line, str):
            yield line
        else:
            yield from _flat(line)


def _is_reduction(name: str, e: Expr) -> bool:
    """``e`` combines the local ``name`` with something else, and this is the last operation."""
    if not isinstance(e, Op) or not e.ty.is_float:
        return False
    here = [isinstance(a, Ref) and a.name == name for a in e.args]
    if e.name in _REDUCTIONS:
        return any(here)
    return (e.name == "sub" and here[0]) or (e.name == "fma" and here[2])
