"""The blocked contraction: pieces that a worker computes from operands in its own caches.

    C[g, r, j] = sum_k  A[g, r, k] * B[g, k, j]

A piece is a range of rows times a group of panels of columns.  It walks k in slices, so short that a panel of B stays in
the first-level cache while block after block of rows passes over it; between two slices the sums wait in the worker's
memory.  So C is written once, and a column may be computed by two panels.

What follows on C element by element (``Epilogue``) is a kernel that is called for each block of rows of a panel when its sums
are whole: they never lie in C then, but in the worker's memory, so that the epilogue may write over what it reads.

A piece packs the slice of B that its panels need, and copies the run of an image that its rows need where its lines
are awkward: a power of two apart they share a few sets of the caches, and distant ones need a page each.  What a worker
packed it finds in its caches a moment later, and no step of its own has to pass over an operand first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Op, Ref, Ty, i64, maximum, minimum, op_, select
from .gemm import digits, integers, numbered, opaque
from .microkernel import (
    BLOCK_WORDS,
    LINE,
    Coming,
    Fill,
    LinearRows,
    Rows,
    Tile,
    WalkedRows,
    accumulate,
    divide,
    store_block,
)
from .packing import pack_along_rows, transposed
from .slab import IMAGE_FRAME, copy_image, copy_run, line_of
from .window_part import AXES, OUTER, WINDOW_FRAME, window_part

__all__ = ["Contract", "contract_kernel"]


@dataclass(frozen=True, slots=True)
class Contract:
    """Which ``contract_kernel``: this is the kernel's key.

    Attributes:
        c_ty: element type of C in memory.  A, B and the sums have the tile's type.
        row_dims, k_dims: dimensions of the rows and of k.
        window: the sizes of all dimensions of k where they are few enough to unroll; k has one slice then.
        lanewise: the columns are a batch: C[r, j] = sum_k A[r, k, j] * B[k, j].
        copies: the kernel can pack B and, where the rows are several dimensions, copy A; whether it does, the frame says.
        window_rows: rows are (images, y, x), and outputs that see a part of the window only are contractions of their own
            (``window_part``).
        masked: there are fewer columns than a panel has, and C takes masked vectors.
        packed_rows: A is packed (``pack_rows_kernel``).
        image: A is an image with margins or blocks of channels that copies alone have (``copy_image``).
        packs_rows: a piece packs the rows of A that it reads, which have stride 1, in the same way: the worker's caches hold them.
    """

    tile: Tile
    c_ty: Ty
    row_dims: int = 1
    k_dims: int = 1
    window: tuple[int, ...] = ()
    lanewise: bool = False
    copies: bool = False
    window_rows: bool = False
    masked: bool = False
    packed_rows: bool = False
    packs_rows: bool = False
    image: bool = False

    @property
    def slabs(self) -> bool:
        """Whether it can copy A."""
        return self.copies and self.row_dims > 1

    @property
    def own_a(self) -> bool:
        """Whether it can read A from the worker's memory."""
        return self.slabs or self.packs_rows

    @property
    def fills(self) -> bool:
        """Whether the first rows of a piece pack the columns that they need, beside their multiply-adds.

        Not where a row of a panel is one cache line: there, a pass over all panels reads B along its memory.
        """
        return self.copies and not self.tile.is_narrow

    @property
    def calls(self) -> bool:
        """Whether it can call an epilogue; whether it does, the frame says."""
        return not (self.window or self.window_rows or self.lanewise) and self.c_ty == self.tile.ty

    @property
    def name(self) -> str:
        flags = "".join(
            f"_{f}"
            for f in ("lanewise", "copies", "masked", "window_rows", "packed_rows", "packs_rows", "image")
            if getattr(self, f)
        )
        k = "x".join(map(str, self.window)) or self.k_dims
        return f"contract_{self.tile}_{self.c_ty}_r{self.row_dims}k{k}{flags}"

    def parameters(self) -> list[str]:
        """The integers of the frame."""
        rows, ks = numbered("r", self.row_dims), numbered("k", self.k_dims)
        walk = ("g0", "g1", "outer", "slice")
        names = [
            "m", "n", "piece_rows", "blocks", "mc", "g1_size", "parts", "pieces", "inner", "by_rows", "group", "panels", "last_col", "level",
            "k_slice", *ks, *rows[1:], *(f"{x}_{n}" for x in "ab" for n in (*walk, *ks)), "a_step", "b_group", "b_panel", "b_col",
            *(f"{x}_{n}" for x in "ac" for n in rows), "c_g0", "c_g1", "c_part",
        ]  # fmt: skip
        if not self.window:
            names += ["slices", "part_slices", "sums_size", "sums_line", "sums_panel", "reach", "c_col"]
        if self.calls:
            names += ["calling"]
        if self.copies:
            names += ["packing", "panels_size", "ahead", "bs_col", *(f"bs_{n}" for n in (*walk, *ks))]
        if self.fills:
            names += ["filling"]
        if self.slabs:
            names += ["copying", "slab_length", "slab_step", "ahead_a", "ahead_b"]
        if self.image:
            names += IMAGE_FRAME
        if self.packs_rows:
            names += ["as_k0"]
        if self.own_a:
            names += ["copy_size", *(f"as_{n}" for n in walk)]
        return [*names, *WINDOW_FRAME] if self.window_rows else names


def contract_kernel(v: Contract) -> Kernel:
    """Range: pieces (g0, g1, part of k, group of panels, ``piece_rows`` rows), row-major; the last two the other way round where
    the frame says ``by_rows``.

    Frame: the sizes ``m``, ``n``, ``k0 k1 ...`` and, but for the outermost, ``r1 r2 ...``; the counts ``g1_size parts
    pieces`` (of a part) and, of the last digit, ``inner``, ``panels`` and, of them in a group, ``group``; a piece's ``blocks`` of ``mc`` rows.  A part is ``part_slices`` of the ``slices``.  A
    slice is one index of a loop over k outside of k0 (strides ``a_outer``, ``b_outer``) and ``k_slice`` of the indices of
    k0, of which there are ``level`` stretches.  ``last_col`` is where the last panel begins.  Panel i of a group whose
    first is p is at ``p * b_group + i * b_panel + (its first column) * b_col``; ``a_step`` is that of ``LinearRows``.

    A register block goes to C in whole vectors, columns of stride 1, where it is ``reach`` rows before the end of the piece;
    what these write past the last column, later rows write again.  The others go element by element, columns ``c_col`` apart.

    Where the frame says ``packing``, each slice packs B into panels of the worker, in which ``b_...`` are strides; those of
    B are ``bs_...``.  Where it says ``copying``, each slice copies the slab of A that all rows read:
    ``slab_length + depth * slab_step`` elements; meanwhile each row of a panel asks for ``ahead_a`` and ``ahead_b`` elements of what the
    next slice reads.  Where it says ``calling``, blocks go to the kernel ``then`` (``Epilogue``), and C
    is not written to.
    ``..._size``: elements of each worker's memory.
    """
    b = KernelBuilder(v.name)
    a, panels = b.pointer("a", v.tile.ty), b.pointer("b", v.tile.ty)
    piece = _Piece(
        b, v, a, panels, b.pointer("c", v.c_ty),
        b.pointer("a_source", v.tile.ty) if v.own_a else a, b.pointer("b_source", v.tile.ty) if v.copies else panels,
        panels if v.window else b.pointer("sums", v.tile.ty),
        (b.pointer("then", i64), b.pointer("told", i64)) if v.calls else ("", ""),
        integers(b, *v.parameters()),
    )  # fmt: skip
    piece.begin()
    with b.for_("piece", b.lo, b.hi) as number:
        piece.run(number)
    return b.build()


@dataclass
class _Piece:
    """Writes the code of one piece: the product of ``a`` and ``panels``, which may be copies of what lies elsewhere."""

    b: KernelBuilder
    v: Contract
    a: str
    panels: str
    c: str
    a_source: str
    b_source: str
    sums: str
    epilogue: tuple[str, str]
    frame: dict[str, Ref]

    def begin(self) -> None:
        """In front of all pieces."""
        b, tile = self.b, self.v.tile
        self.p: dict[str, Expr] = dict(self.frame)
        self.masks: list[Expr] = []
        if self.v.masked:
            words = Ty("i", self.v.c_ty.bits, tile.lanes)
            left = [(self.p["n"] - j * tile.lanes).cast(words.scalar).splat(tile.lanes) for j in range(tile.nv)]
            self.masks = [b.let("mask", op_("lt", Op("iota", (), words), n)) for n in left]

    def run(self, number: Expr) -> None:
        b, p, v = self.b, self.p, self.v
        g0, g1, part, rest = digits(b, number, [p[n] for n in ("g1_size", "parts", "pieces")])
        outer, inner = divide(b, rest, p["inner"])
        by_rows = p["by_rows"] > 0
        group = b.let("group", select(by_rows, inner, outer))
        row_block: Expr = b.let("row_block", select(by_rows, outer, inner))
        arrays = ("a", "b", "c", *(("bs",) if v.copies else ()), *(("as",) if v.own_a else ()))
        self.place = {x: b.let(f"at_{x}", g0 * p[f"{x}_g0"] + g1 * p[f"{x}_g1"]) for x in arrays}
        self.place["c"] = b.let("at_c", self.place["c"] + part * p["c_part"])
        if v.image:
            self.place["as"] = b.let("at_image", self.place["as"] + p["image_start"])
        if v.window_rows:
            row_block, p = self._window_part(row_block)
        self.first = b.let("first", row_block * p["piece_rows"])
        self.stop = b.let("stop", minimum(self.first + p["piece_rows"], p["m"]))
        self.panel = b.let("panel", group * p["group"])
        self.count = b.let("count", minimum(p["group"], p["panels"] - self.panel))
        self.before = b.let("before", (g0 * p["g1_size"] + g1) * p["m"])  # rows of the matrices before in the batch
        self.next: dict[str, Expr] = {}
        if v.window:
            return self._slice(part, None, None)
        begin = b.let("begin", part * p["part_slices"])
        end = b.let("end", minimum(begin + p["part_slices"], p["slices"]))
        with b.for_("slice", begin, end) as s:
            last = b.let("last", (s + 1).eq(end))
            self.next = self._next(s, part, last) if v.slabs else {}
            self._slice(s, b.let("later", s > begin), last)

    def _window_part(self, number: Expr) -> tuple[Expr, dict[str, Expr]]:
        """Goes over to the rows, the steps of k and the places of one part of the outputs; returns the number of its range."""
        b, part = self.b, window_part(self.b, self.frame, number)
        (y, x), p = part.counts, dict[str, Expr](self.frame)
        p |= {"m": b.let("m", p["images"] * y * x), "r1": y, "r2": x}
        loops = [p[f"k_loop_{axis}"] for axis in AXES]
        p["slices"] = b.let("slices", select(loops[0].eq(OUTER), part.steps[0] * p["level"], p["slices"]))
        for i, k in enumerate(numbered("k", self.v.k_dims)):
            for loop, steps in zip(loops, part.steps):
                p[k] = b.let("n", select(loop.eq(i), steps, p[k]))
        self.place |= {k: b.let(f"at_{k}", self.place[k] + offset) for k, offset in part.offsets.items()}
        self.p = p
        return part.range, p

    def _next(self, slice_: Expr, part: Expr, last: Expr) -> dict[str, Expr]:
        """Where the slice behind this one lies in A and B.  Behind the last of a piece, that is the first of the piece before or behind,
        as threads of odd number take pieces from the back: so it is with one or two threads, and more of them ask in vain."""
        b, p = self.b, self.p
        by = select((b.worker & 1).eq(1), -1, Const(1, i64))
        behind = b.let("behind", select(last, (part + by) * p["part_slices"], slice_ + 1))
        outer, stretch = divide(b, maximum(minimum(behind, p["slices"] - 1), 0), p["level"])
        found: dict[str, Expr] = {
            x: b.let(f"next_{x}", self.place[x] + outer * p[f"{x}_outer"] + stretch * p[f"{x}_slice"])
            for x in ("as", "bs")
        }
        if self.v.image:
            number, _ = divide(b, found["as"], p["image_pixels"] * p["image_channels"])
            found["as"] = b.let("next_line", line_of(b, p, number)[0])
        return found

    def _slice(self, slice_: Expr, later: Expr | None, last: Expr | None) -> None:
        b, p, v = self.b, self.p, self.v
        outer, stretch = divide(b, slice_, p["level"])
        start = {
            x: b.let(f"start_{x}", self.place[x] + outer * p[f"{x}_outer"] + stretch * p[f"{x}_slice"])
            for x in self.place
            if x != "c"
        }
        depth = minimum(p["k_slice"], p["k0"] - stretch * p["k_slice"])
        depth = b.let("depth", maximum(depth, 0) if v.window_rows else depth)  # the border sees less than all slices
        if v.copies:
            start["b"] = b.let("own", start["b"] + b.worker * p["panels_size"])
            with b.if_(p["packing"] > 0):
                self._pack(start["bs"], start["b"], depth)
        if v.own_a:
            start["a"] = b.let("own", start["a"] + b.worker * p["copy_size"])
        if v.slabs:
            with b.if_(p["copying"] > 0):
                self._copy(start["as"], start["a"], depth)
        if v.packs_rows:
            start["a"] = b.let("row_0", start["a"] - self.first * p["a_step"])
            ends, strides = ((self.first, self.stop), (Const(0, i64), depth)), (p["as_k0"], p["a_step"])
            pack_along_rows(
                b, (self.a_source, self.a), (v.tile.mr, v.tile.lanes), *ends, (start["as"], start["a"]), strides
            )
        ks = numbered("k", v.k_dims)
        counts: list[Expr | int] = list(v.window) or [depth, *(p[k] for k in ks[1:])]
        levels = [(n, p[f"a_{k}"], p[f"b_{k}"]) for n, k in zip(counts, ks)]
        with b.for_("n", 0, p["blocks"]) as n:
            block = b.let("block", self.first + n * p["mc"])
            stop = b.let("block_end", minimum(block + p["mc"], self.stop))
            self._block((block, stop), start, levels, (later, last))

    def _block(
        self, block: tuple[Expr, Expr], start: Mapping[str, Expr], levels: Sequence[tuple[Expr | int, Expr, Expr]],
        when: tuple[Expr | None, Expr | None],
    ) -> None:  # fmt: skip
        """Panel after panel, a block of rows passes over it.  Where the columns are a batch, nothing of a panel serves twice:
        there, the panels pass over the rows, whose columns lie together."""
        b, v = self.b, self.v
        if v.lanewise:
            rows = self._rows(*block)
            with b.for_("row", *block, v.tile.mr) as row:
                here = rows.take(row, v.tile.mr)
                with b.for_("panel", 0, self.count) as panel:
                    self._tile(panel, row, here, start, levels, when)
        else:
            with b.for_("panel", 0, self.count) as panel:
                rows = self._rows(*block)
                calls = when[1] & (self.p["calling"] > 0) if v.calls and when[1] is not None else None
                if calls is not None:
                    with b.if_(calls):
                        self._call(panel, *block, ahead=True)
                with b.for_("row", *block, v.tile.mr) as row:
                    self._tile(panel, row, rows.take(row, v.tile.mr), start, levels, when)
                if calls is not None:
                    with b.if_(calls):
                        self._call(panel, *block, ahead=False)

    def _tile(
        self, panel: Expr, row: Expr, rows: Rows, start: Mapping[str, Expr],
        levels: Sequence[tuple[Expr | int, Expr, Expr]], when: tuple[Expr | None, Expr | None],
    ) -> None:  # fmt: skip
        """A register block."""
        b, p, v = self.b, self.p, self.v
        later, last = when
        col = b.let("col", minimum((self.panel + panel) * v.tile.cols, p["last_col"]))
        at_a = b.let("at_a", start["a"] + col) if v.lanewise else start["a"]
        at_b = b.let("at_b", start["b"] + self._panel_offset(panel) + col * p["b_col"])
        fill = None
        if v.fills:
            strides = tuple(p[f"bs_{k}"] for k in numbered("k", v.k_dims))
            fill = Fill(
                (p["filling"] > 0) & row.eq(self.first),
                self.b_source,
                b.let("from_", start["bs"] + col),
                strides,
                p["ahead"],
            )
        held = None if v.window else (self.sums, b.let("at_sums", self._sums_offset(panel, row)))
        going_on = held and (*held, p["sums_line"])
        coming = []
        if self.next:
            rows_here = b.let("rows_here", self.stop - self.first)
            done = b.let("done", row - self.first + panel * rows_here)
            for source, at, each in (
                (self.a_source, self.next["as"], p["ahead_a"]),
                (self.b_source, self.next["bs"], p["ahead_b"]),
            ):
                step = b.let("step", rows_here * self.count * each)
                coming.append(Coming(source, b.let("soon", at + done * each), step, b.let("size", each * v.tile.mr)))
        acc = accumulate(
            b, v.tile, (self.a, self.panels), (at_a, at_b), rows.a, levels, v.lanewise, going_on, later, fill,
            v.packed_rows or v.packs_rows, p["a_step"] * v.tile.mr if v.packed_rows else None, coming,
        )  # fmt: skip
        self._put(acc, rows, row, col, held, last)

    def _call(self, panel: Expr, row: Expr, stop: Expr, ahead: bool) -> None:
        """Hands a block of rows of a panel to the epilogue, or tells it ``ahead`` which one comes.  The last panel of C may begin to
        the left of where it would: the columns there are those of its neighbour."""
        b, p, cols = self.b, self.p, self.v.tile.cols
        then, told = self.epilogue
        first = b.let("first_col", (self.panel + panel) * cols)
        at = self._sums_offset(panel, row) + (first - minimum(first, p["last_col"]))
        here = b.let("here", b.worker * BLOCK_WORDS)
        for k, word in enumerate((at, p["sums_line"], first, minimum(p["n"] - first, cols), Const(int(ahead), i64))):
            b.store(told, here + k, word)
        b.call(b.load(then, 0), b.place(then, 1), self.before + row, self.before + stop, b.worker)

    def _panel_offset(self, panel: Expr) -> Expr:
        """Where panel ``panel`` of the group begins, but for its columns."""
        return self.panel * self.p["b_group"] + panel * self.p["b_panel"]

    def _rows(self, first: Expr, stop: Expr) -> LinearRows | WalkedRows:
        b, p, v = self.b, self.p, self.v
        names = numbered("r", v.row_dims)
        strides = [[p[f"{x}_{n}"] for n in names] for x in "ac"]
        if v.row_dims == 1:
            return LinearRows(b, stop, p["a_step"], strides[0][0], strides[1][0])
        return WalkedRows(b, first, stop, [p[n] for n in names[1:]], *strides)

    def _sums_offset(self, panel: Expr, row: Expr) -> Expr:
        """Sums lie [row of the piece][column of the group], or of a panel where they are whole at once; register blocks are
        whole there."""
        b, p = self.b, self.p
        return b.worker * p["sums_size"] + (row - self.first) * p["sums_line"] + panel * p["sums_panel"]

    def _put(
        self, acc: Sequence[Sequence[Ref]], rows: Rows, row: Expr, col: Expr, held: tuple[str, Expr] | None, last: Expr | None
    ) -> None:  # fmt: skip
        """To C, or to where the sums wait for the next slice, or for the epilogue."""
        b, v, at_c = self.b, self.v, self.place["c"]
        if held is None or last is None:
            return store_block(b, v.tile, acc, rows, self.c, at_c + col)
        with b.if_(last & (row + self.p["reach"] <= self.stop)):
            store_block(b, v.tile, acc, rows, self.c, at_c + col, self.masks)
        with b.else_():
            self._hold(acc, held)
            with b.if_(last & self.p["calling"].eq(0) if v.calls else last):
                self._scatter(rows, col, held)
        return None

    def _hold(self, acc: Sequence[Sequence[Ref]], held: tuple[str, Expr]) -> None:
        tile = self.v.tile
        for i, sums in enumerate(acc):
            for j, total in enumerate(sums):
                self.b.store(held[0], held[1] + (self.p["sums_line"] * i + j * tile.lanes), total)

    def _scatter(self, rows: Rows, col: Expr, held: tuple[str, Expr]) -> None:
        """Copies a register block of sums to C, element by element."""
        b, p, tile, at_c = self.b, self.p, self.v.tile, self.place["c"]
        lines = [b.let("line", at_c + offset + col * p["c_col"]) for offset in rows.c]
        with b.for_("j", 0, minimum(p["n"] - col, tile.cols)) as column:
            j = opaque(b, column, p["n"])
            for i, line in enumerate(lines):
                value = b.load(held[0], held[1] + self.p["sums_line"] * i + j)
                b.store(self.c, line + j * p["c_col"], value.cast(self.v.c_ty))

    # ----------------------------------------------------------------------- the worker's own operands

    def _copy(self, source: Expr, to: Expr, depth: Expr) -> None:
        """The slab of A that the rows read in a slice."""
        b, p, lanes = self.b, self.p, self.v.tile.lanes
        length = b.let("length", p["slab_length"] + depth * p["slab_step"])
        if self.v.image:
            copy_image(b, p, (self.a_source, self.a), source, to, length, lanes)
        else:
            copy_run(b, (self.a_source, self.a), source, to, length, lanes)

    def _pack(self, source: Expr, to: Expr, depth: Expr) -> None:
        """The slice of B that the group of panels needs, [panel][k][column].  Columns past the last repeat it.

        Where k has stride 1, in square blocks: of eight columns at most, as larger ones take longer to compile.
        """
        b, p, tile = self.b, self.p, self.v.tile
        ks = numbered("k", self.v.k_dims)
        levels = [(n, p[f"bs_{k}"], p[f"b_{k}"]) for n, k in zip([depth, *(p[k] for k in ks[1:])], ks)]
        width = min(tile.lanes, 8)

        def walk(depth: int, at: Expr, to: Expr, columns: Sequence[Expr]) -> None:
            if depth == len(levels):
                for i, column in enumerate(columns):
                    b.store(self.panels, to + i, b.load(self.b_source, at + column))
                return
            size, s_k, d_k = levels[depth]
            done: Expr = Const(0, i64)
            if depth == len(levels) - 1 and width > 1:
                done = b.let("done", select(s_k.eq(1), size // width * width, 0))
                with b.for_("k", 0, done, width) as step:
                    k = opaque(b, step, done)
                    here, there = b.let("here", at + k), b.let("there", to + k * tile.cols)
                    for i, row in enumerate(transposed(b, [b.load(self.b_source, here + c, width) for c in columns])):
                        b.store(self.panels, there + i * tile.cols, row)
            with b.for_("k", done, size) as step:
                k = opaque(b, step, size)
                walk(depth + 1, b.let("from_", at + k * s_k), b.let("to", to + k * d_k), columns)

        def across() -> None:
            with b.for_("panel", 0, self.count) as panel, b.for_("j", 0, tile.cols, width) as j:
                col = b.let("col", minimum((self.panel + panel) * tile.cols, p["last_col"]) + j)
                columns = [b.let("column", minimum(col + i, p["n"] - 1) * p["bs_col"]) for i in range(width)]
                walk(0, source, b.let("to", to + self._panel_offset(panel) + j), columns)

        if self.v.fills:
            return across()
        with b.if_(p["bs_col"].eq(1) & (p["n"] >= tile.cols)):
            self._pack_lines(levels, source, to)
        with b.else_():
            across()

    def _pack_lines(self, levels: Sequence[tuple[Expr, Expr, Expr]], at: Expr, to: Expr) -> None:
        """``_pack``, where columns have stride 1 and there is a panel of them: for each k, all panels."""
        b, p, tile = self.b, self.p, self.v.tile
        if levels:
            size, s_k, d_k = levels[0]
            with b.for_("k", 0, size) as step:
                k = opaque(b, step, size)
                self._pack_lines(levels[1:], b.let("from_", at + k * s_k), b.let("to", to + k * d_k))
            return
        with b.for_("panel", 0, self.count) as number:
            panel = opaque(b, number, self.count)
            col = minimum((self.panel + panel) * tile.cols, p["last_col"])
            here, there = b.let("here", at + col), b.let("there", to + self._panel_offset(panel))
            for j in range(0, tile.cols, LINE // tile.ty.itemsize):
                b.prefetch(self.b_source, here + p["ahead"] + j)
            for j in range(0, tile.cols, tile.lanes):
                b.store(self.panels, there + j, b.load(self.b_source, here + j, tile.lanes))
