"""THE table: for every primitive the cases that the laws hold it to.

A ``Spec`` names a primitive, the dtypes it takes, the operands that have a derivative, how far compiled code may be
from the reference, and its cases.  A ``Case`` is a list of draws, one for each operand, and the parameters of the
equation; for operations that hold a function it is a function of arrays.  ``test_laws`` (the rules),
``test_jit_equals_reference`` (the machine) and ``test_completeness`` read it; nothing else lists primitives.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from op_values import (
    Draw,
    Shape,
    bits,
    conv_config,
    conv_params,
    damaged,
    distinct,
    dot_config,
    few,
    flags,
    general_matrix,
    index_config,
    integers,
    numbers,
    permutation,
    positive_definite,
    special_values,
    specials,
    sprinkled,
    triangular,
    update_shape,
    window_config,
    window_params,
)
from thorough import THOROUGH, part

import fx
from fx import dtypes, lax
from fx.api import vmap
from fx.ir import Aval
from fx.lax import all_gather, axis_index, pmax, pmin, psum
from fx.primitive import primitive
from fx.primitives import elementwise as E
from fx.primitives import joining, matrices
from fx.primitives import shaping as S
from fx.primitives.callbacks import debug_callback_p, io_callback_p, pure_callback_p
from fx.primitives.checks import (
    ANY,
    BITS,
    BOOL,
    COMPLEX,
    FLOAT,
    INEXACT,
    INTEGER,
    NUMBER,
    ORDERED,
    REAL,
    UINT32,
    DTypeClass,
)
from fx.primitives.window_geometry import window_counts
from fx.trace import bind

F32, F64, C64, C128 = (np.dtype(d) for d in ("float32", "float64", "complex64", "complex128"))
WIDE = (F64, C128)
HALVES = tuple(d for d in dtypes.FLOATS if d.itemsize == 2)


@dataclass(frozen=True)
class Tolerance:
    """How far compiled code may be from the NumPy reference.

    ``|got - want| <= ulps * eps * max(|want|, floor)``; a complex number counts as a whole.  16-bit floats are computed
    in float32 and rounded: there ``ulps`` is at most 1.  NaN must stand where NaN stands, infinities must be equal; but a
    complex product with an infinite factor may be infinite, as in C, or NaN, as by the formula.

    Attributes:
        ulps: 0 asks for the same bits (for the same numbers, if ``zero_sign`` is False).
        complex_ulps: the same for complex operands; None for three times ``ulps``.
        floor: for functions that vanish where their argument does not (lgamma at 1 and 2).
        terms: for operations that add up: in place of ``|want|`` stands the sum of the magnitudes of the terms, which
            is the reference of the operands' magnitudes.
    """

    ulps: float = 0.0
    floor: float = 0.0
    terms: bool = False
    zero_sign: bool = True
    complex_ulps: float | None = None

    def of(self, dtype: np.dtype) -> Tolerance:
        """The tolerance of an operation on operands of that dtype."""
        if not dtypes.is_complex(dtype):
            return self
        return dataclasses.replace(self, ulps=3 * self.ulps if self.complex_ulps is None else self.complex_ulps)


EXACT = Tolerance()
ROUNDED = Tolerance(complex_ulps=4.0)  # one rounding; complex arithmetic has several
EQUAL = Tolerance(zero_sign=False)  # an extreme of -0.0 and 0.0 may be either
LIBRARY = Tolerance(4.0)  # NumPy's own functions are right to 4 units in the last place
TERMS = Tolerance(8.0, terms=True)


@dataclass(frozen=True)
class Case:
    """Operands and parameters of one equation.

    Attributes:
        operands: a draw for each operand.
        params: the equation's parameters, or a function of the dtype that gives them.
        f: in place of ``params``: the operation as a function of arrays.
        smooth: a derivative exists where the operands are drawn.
        everywhere: runs in every dtype of the primitive; others run in its main dtype, and each other dtype meets one
            of them.
        layouts: runs on transposed, strided, reversed and broadcast operands, too.
        dtypes: narrower than the primitive's.
        wrt: other operands than the primitive's that have a derivative.
    """

    name: str
    operands: tuple[Draw, ...]
    params: Mapping[str, Any] | Callable[[np.dtype], Mapping[str, Any]] = field(default_factory=dict)
    f: Callable[..., Any] | None = None
    smooth: bool = True
    everywhere: bool = False
    layouts: bool = False
    dtypes: tuple[np.dtype, ...] | None = None
    wrt: tuple[int, ...] | None = None

    def draw(self, dtype: np.dtype, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, *self.name.encode()])
        return [operand(rng, dtype) for operand in self.operands]


@dataclass(frozen=True)
class Spec:
    """A primitive and its cases.

    Attributes:
        wrt: operands that have a derivative.
        linear: operands in which it is linear (each alone), if it has a transpose rule; None for ``wrt``.
        recorded: False for operations that leave no equation of their name in a graph that is compiled.
    """

    primitive: str
    dtypes: tuple[np.dtype, ...]
    cases: tuple[Case, ...]
    wrt: tuple[int, ...] = ()
    tolerance: Tolerance = EXACT
    linear: tuple[int, ...] | None = None
    recorded: bool = True

    @property
    def main(self) -> np.dtype:
        return next((d for d in (F32, np.dtype("int32"), C64) if d in self.dtypes), self.dtypes[0])

    def function(self, case: Case, dtype: np.dtype) -> Callable[..., Any]:
        """The case as a function of its operands."""
        if case.f is not None:
            return case.f
        params = case.params(dtype) if callable(case.params) else case.params
        return functools.partial(bind, primitive(self.primitive), **params)

    @property
    def typical(self) -> list[Case]:
        """The cases that every dtype meets, or the first one that the main dtype meets."""
        found = [c for c in self.cases if c.everywhere]
        return found or [next(c for c in self.cases if c.dtypes is None or self.main in c.dtypes)]

    @property
    def compiled(self) -> tuple[np.dtype, ...]:
        """The dtypes in which compiled code is tested: the main one, and of the others every third, whose neighbours the
        next primitive of the table takes, and the next turn.  All of them with ``FX_TEST_THOROUGH=1``."""
        chosen = part(self.dtypes, list(SPECS).index(self.primitive), 3)
        return tuple(d for d in self.dtypes if d == self.main or d in chosen)

    def pairs(self) -> Iterator[tuple[Case, np.dtype]]:
        """Which cases run in which dtypes: see ``Case.everywhere``.  All in all with ``FX_TEST_THOROUGH=1``."""
        for k, dtype in enumerate(self.dtypes):
            fit = [c for c in self.cases if c.dtypes is None or dtype in c.dtypes]
            rest = [c for c in fit if not c.everywhere]
            sampled = dtype != self.main and not THOROUGH
            chosen = [rest[(5 * k + 3) % len(rest)]] if rest and sampled else rest
            chosen = chosen + [c for c in rest if c.dtypes is not None and c not in chosen]
            yield from ((c, dtype) for c in fit if c.everywhere or c in chosen)

    def smooth(self) -> Iterator[tuple[Case, np.dtype]]:
        """The cases that have a derivative, in double precision; the first of them in complex numbers, too."""
        first = True
        for case in (c for c in self.cases if c.smooth and self.wrt):
            for dtype in WIDE:
                fits = dtype in (case.dtypes or self.dtypes) and dtype in self.dtypes
                if fits and (first or not dtypes.is_complex(dtype)):
                    yield case, dtype
            first = False


def members(allowed: DTypeClass) -> tuple[np.dtype, ...]:
    return tuple(d for d in dtypes.ALL if d in allowed.members)


SPECS: dict[str, Spec] = {}


def spec(name: str, allowed: DTypeClass | tuple[np.dtype, ...], cases: list[Case], **options: Any) -> None:
    taken = members(allowed) if isinstance(allowed, DTypeClass) else allowed
    assert name not in SPECS, f"{name} stands twice in the table"
    assert len({c.name for c in cases}) == len(cases), f"two cases of {name} have one name"
    SPECS[name] = Spec(name, taken, tuple(cases), **options)


# ------------------------------------------------------------------------------------- elementwise

SHAPES: tuple[Shape, ...] = ((2, 3, 5), (), (0,), (3, 0, 2), (1, 1), (5, 33), (2, 3, 2, 9), (1031,))
Domain = tuple[float, float]


def shaped_cases(count: int, domains: tuple[Domain, ...], params: Mapping[str, Any] | None = None) -> list[Case]:
    """Every shape, and the special values."""
    plain = [
        Case(str(s), tuple(numbers(s, *d) for d in domains), params or {}, everywhere=k == 0, layouts=k == 0)
        for k, s in enumerate(SHAPES)
    ]
    return [*plain, Case("special values", specials(count), params or {}, smooth=False, everywhere=True)]


def elementwise(
    name: str, allowed: DTypeClass, domains: tuple[Domain, ...], tolerance: Tolerance = EXACT, wrt: bool = True,
    variants: tuple[Mapping[str, Any], ...] = ({},), linear: tuple[int, ...] | None = None,
) -> None:  # fmt: skip
    """``variants``: sets of parameters; all but the first meet the first shape and the special values alone."""
    cases = shaped_cases(len(domains), domains, variants[0])
    for params in variants[1:]:
        more = [c for c in shaped_cases(len(domains), domains, params) if c.everywhere]
        cases += [
            Case(f"{c.name} {', '.join(f'{k}={v}' for k, v in params.items())}", c.operands, params, smooth=c.smooth)
            for c in more
        ]
    operands = tuple(range(len(domains))) if wrt else ()
    spec(name, allowed, cases, wrt=operands, tolerance=tolerance, linear=linear)


ALL_REAL = (-2.0, 2.0)
NEAR_ZERO = Tolerance(4.0, floor=1.0)

UNARY: dict[str, tuple[DTypeClass, Domain, Tolerance]] = {
    "exp": (INEXACT, (-2, 2), LIBRARY), "exp2": (INEXACT, (-2, 2), LIBRARY), "log": (INEXACT, (0.2, 3), LIBRARY), "log2": (INEXACT, (0.2, 3), LIBRARY),
    "log1p": (INEXACT, (-0.5, 2), LIBRARY), "expm1": (INEXACT, (-1, 1), LIBRARY), "sin": (INEXACT, (-3, 3), LIBRARY),
    "cos": (INEXACT, (-3, 3), LIBRARY), "tan": (INEXACT, (-1, 1), LIBRARY), "asin": (INEXACT, (-0.9, 0.9), LIBRARY),
    "acos": (INEXACT, (-0.9, 0.9), LIBRARY), "atan": (INEXACT, (-2, 2), LIBRARY), "sinh": (INEXACT, (-2, 2), LIBRARY),
    "cosh": (INEXACT, (-2, 2), LIBRARY), "tanh": (INEXACT, (-2, 2), LIBRARY), "asinh": (INEXACT, (-2, 2), LIBRARY),
    "acosh": (INEXACT, (1.2, 3), LIBRARY), "atanh": (INEXACT, (-0.8, 0.8), LIBRARY),
    "sqrt": (INEXACT, (0.2, 3), ROUNDED), "rsqrt": (INEXACT, (0.2, 3), LIBRARY), "cbrt": (FLOAT, (0.2, 3), LIBRARY),
    "logistic": (INEXACT, (-3, 3), LIBRARY), "square": (NUMBER, (-2, 2), ROUNDED), "erf": (FLOAT, (-2, 2), LIBRARY),
    "erfc": (FLOAT, (-2, 2), LIBRARY), "erf_inv": (FLOAT, (-0.9, 0.9), LIBRARY),
    "lgamma": (FLOAT, (0.3, 12), NEAR_ZERO), "digamma": (FLOAT, (0.3, 12), Tolerance(8.0, floor=1.0)), "neg": (NUMBER, ALL_REAL, EXACT),
    "sign": (NUMBER, (0.3, 2), ROUNDED), "abs": (NUMBER, (0.3, 2), ROUNDED), "real": (COMPLEX, ALL_REAL, EXACT),
    "imag": (COMPLEX, ALL_REAL, EXACT), "conj": (COMPLEX, ALL_REAL, EXACT), "copy": (ANY, ALL_REAL, EXACT),
}  # fmt: skip
# the derivative is zero, or there is none
UNARY_FLAT: dict[str, tuple[DTypeClass, Domain]] = {
    "floor": (FLOAT, (0.1, 0.9)), "ceil": (FLOAT, (0.1, 0.9)), "is_finite": (FLOAT, ALL_REAL),
    "not": (BITS, ALL_REAL), "population_count": (INTEGER, ALL_REAL), "clz": (INTEGER, ALL_REAL),
    "stop_gradient": (ANY, ALL_REAL),
}  # fmt: skip
BINARY: dict[str, tuple[DTypeClass, Domain, Domain, Tolerance]] = {
    "add": (NUMBER, ALL_REAL, ALL_REAL, EXACT), "sub": (NUMBER, ALL_REAL, ALL_REAL, EXACT),
    "mul": (NUMBER, ALL_REAL, ALL_REAL, ROUNDED), "div": (NUMBER, ALL_REAL, (0.5, 2), ROUNDED),
    "rem": (REAL, (3.1, 3.9), (0.9, 1.0), EXACT),
    "max": (ANY, ALL_REAL, ALL_REAL, EQUAL), "min": (ANY, ALL_REAL, ALL_REAL, EQUAL),
    "atan2": (FLOAT, ALL_REAL, ALL_REAL, LIBRARY),
}  # fmt: skip
BINARY_FLAT: dict[str, DTypeClass] = {
    "nextafter": FLOAT, "eq": ANY, "ne": ANY, "lt": ORDERED, "le": ORDERED, "gt": ORDERED, "ge": ORDERED, "and": BITS,
    "or": BITS, "xor": BITS, "shift_left": INTEGER, "shift_right_logical": INTEGER, "shift_right_arithmetic": INTEGER,
    "gcd": INTEGER,
}  # fmt: skip

for _name, (_allowed, _domain, _tolerance) in UNARY.items():
    elementwise(_name, _allowed, (_domain,), _tolerance)
for _name, (_allowed, _domain) in UNARY_FLAT.items():
    elementwise(_name, _allowed, (_domain,), wrt=False)
for _name, (_allowed, _x, _y, _tolerance) in BINARY.items():
    elementwise(_name, _allowed, (_x, _y), _tolerance, linear={"div": (0,)}.get(_name))
for _name, _allowed in BINARY_FLAT.items():
    elementwise(_name, _allowed, (ALL_REAL, ALL_REAL), wrt=False)
_ROUNDINGS = ({"rounding_method": "to_even"}, {"rounding_method": "away_from_zero"})
elementwise("round", FLOAT, ((0.1, 0.4),), wrt=False, variants=_ROUNDINGS)
elementwise("clamp", ORDERED, ((-1, -0.2), (-1.5, 1.5), (0.2, 1)), EQUAL)
elementwise("complex", (F32, F64), (ALL_REAL, ALL_REAL))
spec(
    "integer_pow", NUMBER, wrt=(0,), tolerance=Tolerance(1.0),
    cases=[
        *shaped_cases(1, ((0.5, 2),), {"y": 3}),
        *(Case(f"y={y}", (numbers((3, 5), 0.5, 2),), {"y": y}) for y in (0, 1, 2, 7, 13)),
        *(
            Case(f"y={y}", (numbers((3, 5), 0.5, 2),), {"y": y}, dtypes=(*dtypes.FLOATS, *dtypes.COMPLEXES))
            for y in (-1, -3)
        ),
    ],
)  # fmt: skip


_PLAIN_POW = shaped_cases(2, ((0.3, 2), ALL_REAL))
spec(
    "pow", NUMBER, wrt=(0, 1), tolerance=Tolerance(4.0, complex_ulps=40.0),
    cases=[
        *_PLAIN_POW[:-1],
        Case("whole", (integers((3, 5), -9, 10), integers((3, 5), -4, 12)), smooth=False, dtypes=dtypes.INTEGERS),
        dataclasses.replace(_PLAIN_POW[-1], dtypes=dtypes.FLOATS),  # large complex powers have no digit in common
        Case("small powers", specials(2, bound=4.0), smooth=False, dtypes=dtypes.COMPLEXES),
    ],
)  # fmt: skip


def _selector(shape: Shape, count: int) -> Draw:
    return integers(shape, -1, count + 1)  # an index outside is clamped


spec(
    "select_n", ANY, wrt=(1, 2),
    cases=[
        *(
            Case(f"bool {s}", (flags(s), numbers(s), numbers(s)), everywhere=k == 0, layouts=k == 0)
            for k, s in enumerate(SHAPES)
        ),
        Case("3 cases", (_selector((4, 5), 3), *[numbers((4, 5))] * 3)),
        Case("1 case", (_selector((4, 5), 1), numbers((4, 5)))),
        Case("special values", (lambda rng, d: np.arange(len(special_values(d))) % 2 == 0, *specials(1), *specials(1)),
             smooth=False),
    ],
)  # fmt: skip

spec(
    "convert_element_type", ANY, wrt=(0,),
    cases=[
        *(
            Case(f"to {d} {what}", draws, {"new_dtype": d}, smooth=what == "(3, 5)" and d in WIDE,
                 everywhere=True)
            for d in dtypes.ALL
            for what, draws in (("(3, 5)", (numbers((3, 5)),)), ("special values", specials(1)))
        ),
        *(Case(f"to int32 {s}", (numbers(s),), {"new_dtype": np.dtype("int32")}, smooth=False) for s in SHAPES),
    ],
)  # fmt: skip
_BITCASTS = [(a, b) for a in (*dtypes.INTEGERS, *dtypes.FLOATS) for b in (*dtypes.INTEGERS, *dtypes.FLOATS)
             if a.itemsize == b.itemsize]  # fmt: skip
spec(
    "bitcast_convert_type", (*dtypes.INTEGERS, *dtypes.FLOATS),
    cases=[
        Case(f"{a} to {b}", specials(1), {"new_dtype": b}, smooth=False, dtypes=(a,)) for a, b in _BITCASTS
    ],
)  # fmt: skip
spec(
    "optimization_barrier", ANY, wrt=(0, 1),
    cases=[Case("two operands", (numbers((3, 4)), numbers((5,))), everywhere=True, layouts=True)],
)  # fmt: skip
spec(
    "threefry2x32", UINT32,
    cases=[Case(str(s), (numbers(s),) * 4, smooth=False, layouts=k == 0) for k, s in enumerate(SHAPES)],
)  # fmt: skip

# ----------------------------------------------------------------------------------------- shaping


def shaping(name: str, *rows: tuple[Any, ...]) -> None:
    """A row: the shape(s) of the operand(s) and the parameters.  The first row runs in every dtype."""
    cases = []
    for k, (shape, params) in enumerate(rows):
        shapes = shape if shape and isinstance(shape[0], tuple) else (shape,)
        text = ", ".join(f"{p}={v}" for p, v in params.items())
        cases.append(Case(f"{shape} {text}", tuple(map(distinct, shapes)), params, everywhere=k == 0, layouts=k < 2))
    spec(name, ANY, cases, wrt=tuple(range(len(cases[0].operands))))


shaping(
    "reshape", ((3, 4, 5), {"new_sizes": (6, 10)}), ((6,), {"new_sizes": (1, 2, 1, 3)}), ((1, 1), {"new_sizes": ()}),
    ((0, 3), {"new_sizes": (3, 0, 2)}), ((2, 3, 2, 5), {"new_sizes": (4, 15)}), ((35, 9), {"new_sizes": (21, 15)}),
)  # fmt: skip
shaping(
    "transpose", ((3, 4, 5), {"permutation": (2, 0, 1)}), ((2, 3, 4, 5), {"permutation": (0, 2, 1, 3)}),
    ((), {"permutation": ()}), ((0, 3), {"permutation": (1, 0)}), ((67, 91), {"permutation": (1, 0)}),
    ((1, 5, 1), {"permutation": (2, 1, 0)}),
)  # fmt: skip
shaping(
    "broadcast_in_dim", ((3, 5), {"shape": (2, 3, 4, 5), "broadcast_dimensions": (1, 3)}),
    ((4, 1), {"shape": (4, 5), "broadcast_dimensions": (0, 1)}), ((), {"shape": (3, 2), "broadcast_dimensions": ()}),
    ((1,), {"shape": (0, 4), "broadcast_dimensions": (0,)}), ((7,), {"shape": (7,), "broadcast_dimensions": (0,)}),
    ((33,), {"shape": (65, 33), "broadcast_dimensions": (1,)}),
)  # fmt: skip
shaping(
    "concatenate", (((2, 3), (2, 0), (2, 4)), {"dimension": 1}), (((4, 3), (2, 3), (1, 3)), {"dimension": 0}),
    (((0,), (0,), (0,)), {"dimension": 0}), (((3000,), (1,), (2500,)), {"dimension": 0}),
    (((70, 3, 5), (70, 2, 5), (70, 40, 5)), {"dimension": 1}),
)  # fmt: skip
shaping(
    "slice", ((3, 4, 5), {"start_indices": (1, 0, 2), "limit_indices": (3, 4, 5), "strides": (1, 2, 1)}),
    ((9,), {"start_indices": (1,), "limit_indices": (9,), "strides": (3,)}),
    ((3, 4), {"start_indices": (2, 4), "limit_indices": (3, 4), "strides": (1, 1)}),
    ((), {"start_indices": (), "limit_indices": (), "strides": ()}),
    ((40, 65), {"start_indices": (3, 1), "limit_indices": (38, 64), "strides": (1, 1)}),
)  # fmt: skip
shaping(
    "rev", ((3, 4, 5), {"dimensions": (0, 2)}), ((7,), {"dimensions": (0,)}), ((), {"dimensions": ()}),
    ((0, 2), {"dimensions": (0, 1)}), ((37, 65), {"dimensions": (1,)}),
)  # fmt: skip
shaping(
    "squeeze", ((3, 1, 4, 1), {"dimensions": (1, 3)}), ((1, 5), {"dimensions": (0,)}), ((1,), {"dimensions": (0,)}),
    ((0, 1), {"dimensions": (1,)}),
)  # fmt: skip
shaping(
    "expand_dims", ((3, 4), {"dimensions": (0, 3)}), ((5,), {"dimensions": (1,)}), ((), {"dimensions": (0, 1)}),
    ((0,), {"dimensions": (0,)}),
)  # fmt: skip


def _pad_case(shape: Shape, config: tuple[tuple[int, int, int], ...], **options: Any) -> Case:
    return Case(f"{shape} {config}", (distinct(shape), numbers(())), {"padding_config": config}, **options)


spec(
    "pad", ANY, wrt=(0, 1),
    cases=[
        _pad_case((3, 4), ((1, 2, 0), (0, 0, 2)), everywhere=True, layouts=True),
        _pad_case((3, 4), ((-1, 2, 1), (0, -2, 0)), layouts=True), _pad_case((5,), ((-2, -2, 1),)),
        _pad_case((), ()), _pad_case((0, 3), ((1, 1, 1), (0, 0, 0))), _pad_case((1, 2), ((0, 3, 2), (-1, 0, 0))),
        _pad_case((2, 31, 33), ((0, 0, 0), (1, 1, 0), (1, 1, 0))),
    ],
)  # fmt: skip
spec(
    "iota", NUMBER,
    cases=[
        Case(f"{shape} along {d}", (), lambda dtype, s=shape, d=d: {"dtype": dtype, "shape": s, "dimension": d},
             smooth=False, everywhere=k == 0)
        for k, (shape, d) in enumerate((((2, 5, 3), 1), ((7,), 0), ((0, 2), 0), ((3, 100), 1)))
    ],
)  # fmt: skip

# ------------------------------------------------------------------------------ reductions and scans

REDUCED = (
    ((3, 4, 5), (0, 2)), ((3, 4, 5), (1,)), ((3, 4, 5), (2,)), ((7,), (0,)), ((), ()), ((4, 3), ()), ((3, 0), (1,)),
    ((0, 3), (1,)), ((1, 3, 1), (0, 2)), ((2, 3, 2, 5), (1, 3)), ((5, 700), (1,)), ((700, 5), (0,)), ((19, 131), (0, 1)),
)  # fmt: skip


def reduction(
    name: str, allowed: DTypeClass, draw: Callable[[Shape], Draw], tolerance: Tolerance = EXACT, wrt: bool = True
) -> None:
    cases = [
        Case(f"{s} over {axes}", (draw(s),), {"axes": axes}, everywhere=k == 0, layouts=k < 2,
             smooth=wrt and math.prod(s) < 1000 and 0 not in s)
        for k, (s, axes) in enumerate(REDUCED)
    ]  # fmt: skip
    cases.append(Case("special values", (sprinkled(draw((9, 14))),), {"axes": (1,)}, smooth=False))
    cases.append(Case("ties", (few((6, 8)),), {"axes": (0,)}, smooth=False))
    spec(name, allowed, cases, wrt=(0,) if wrt else (), tolerance=tolerance)


def _near_one(shape: Shape) -> Draw:
    return numbers(shape, 0.7, 1.4)


reduction("reduce_sum", NUMBER, numbers, TERMS)
reduction("reduce_prod", NUMBER, _near_one, Tolerance(64.0))
reduction("reduce_max", ANY, distinct, EQUAL)
reduction("reduce_min", ANY, distinct, EQUAL)
reduction("reduce_and", BITS, functools.partial(bits, dense=True), wrt=False)
reduction("reduce_or", BITS, functools.partial(bits, dense=False), wrt=False)
for _name in ("argmax", "argmin"):
    spec(
        _name, ORDERED,
        cases=[
            *(
                Case(f"{s} along {axis} {draw.__name__}", (draw(s),), {"axis": axis, "index_dtype": np.dtype(index)},
                     smooth=False, everywhere=k == 0, layouts=k < 2)
                for k, (s, axis, index, draw) in enumerate((
                    ((3, 4, 5), 1, "int32", few), ((3, 9), 1, "int64", few), ((9, 3), 0, "int8", distinct),
                    ((7,), 0, "uint32", distinct), ((2, 1, 3), 1, "int32", few), ((0, 3), 1, "int32", few),
                    ((4, 350), 1, "int32", distinct), ((350, 4), 0, "int32", distinct),
                ))
            ),
            *(
                Case(f"special values along {axis}", (sprinkled(distinct((9, 14))),),
                     {"axis": axis, "index_dtype": np.dtype("int32")}, smooth=False)
                for axis in (0, 1)
            ),
        ],
    )  # fmt: skip

SCANNED = (
    ((3, 4, 5), 1, False), ((3, 7), 1, True), ((7, 3), 0, False), ((1,), 0, True), ((0, 3), 0, False), ((0, 3), 1, True),
    ((5, 333), 1, True), ((333, 5), 0, False), ((20_001,), 0, False),
)  # fmt: skip


def scan(
    name: str, allowed: DTypeClass, draw: Callable[[Shape], Draw], tolerance: Tolerance, odd: Callable[[Draw], Draw]
) -> None:
    spec(
        name, allowed, wrt=(0,), tolerance=tolerance,
        cases=[
            *(
                Case(f"{s} along {axis}{' reverse' * reverse}", (draw(s),), {"axis": axis, "reverse": reverse},
                     everywhere=k == 0, layouts=k < 2, smooth=math.prod(s) < 100)
                for k, (s, axis, reverse) in enumerate(SCANNED)
            ),
            Case("special values", (odd(draw((9, 14))),), {"axis": 1, "reverse": False}, smooth=False),
        ],
    )  # fmt: skip


scan("cumsum", NUMBER, numbers, TERMS, sprinkled)
scan("cumprod", NUMBER, functools.partial(numbers, low=0.9, high=1.1), Tolerance(400.0), sprinkled)
scan("cummax", REAL, distinct, EQUAL, sprinkled)
scan("cummin", REAL, distinct, EQUAL, sprinkled)
scan("cumlogsumexp", FLOAT, numbers, Tolerance(60.0, floor=1.0), sprinkled)
spec(
    "linear_recurrence", NUMBER, wrt=(0, 1), linear=(1,), tolerance=TERMS,
    cases=[
        *(
            Case(f"{s} along {axis}{' reverse' * reverse}", (numbers(s, 0.3, 1.1), numbers(s)), {"axis": axis, "reverse": reverse},
                 everywhere=k == 0, layouts=k < 2, smooth=math.prod(s) < 100)
            for k, (s, axis, reverse) in enumerate(SCANNED)
        ),
        Case("special values", (numbers((9, 14)), sprinkled(numbers((9, 14)))), {"axis": 1, "reverse": False}, smooth=False),
    ],
)  # fmt: skip

# --------------------------------------------------------------------------------- products, convolutions


def _dot_case(x: Shape, y: Shape, dims: Any, preferred: Any = None, name: str = "", **options: Any) -> Case:
    params = {"dimension_numbers": dims, "preferred_element_type": None if preferred is None else np.dtype(preferred)}
    big = math.prod(x) + math.prod(y) > 200
    return Case(name or f"{x} {y} {dims}", (numbers(x), numbers(y)), params, smooth=not big, **options)


MATMUL, BATCHED = (((1,), (0,)), ((), ())), (((2,), (1,)), ((0,), (0,)))
spec(
    "dot_general", ANY, wrt=(0, 1), tolerance=TERMS,
    cases=[
        _dot_case((3, 4), (4, 5), MATMUL, everywhere=True, layouts=True),
        _dot_case((2, 7, 11), (2, 11, 5), BATCHED, layouts=True),
        *(_dot_case(*dot_config(seed), name=f"seed {seed} {dot_config(seed)}") for seed in range(14)),
        _dot_case((37, 65), (65, 50), MATMUL), _dot_case((130, 129), (129, 131), MATMUL, layouts=True),
        _dot_case((1, 300), (300, 70), MATMUL), _dot_case((70, 300), (300, 1), MATMUL),
        _dot_case((1000,), (1000,), (((0,), (0,)), ((), ()))), _dot_case((33,), (65,), (((), ()), ((), ()))),
        _dot_case((64, 17), (64, 33), (((0,), (0,)), ((), ()))), _dot_case((5, 17, 33), (5, 33, 9), BATCHED),
        _dot_case((9, 4, 30), (30, 4, 8), (((1, 2), (1, 0)), ((), ()))),
        _dot_case((3, 4), (4, 5), MATMUL, "float32", "halves to float32", dtypes=HALVES),
        _dot_case((3, 40), (40, 5), MATMUL, "float64", "float32 to float64", dtypes=(F32,)),
        _dot_case((3, 40), (40, 5), MATMUL, "int32", "small integers to int32",
                  dtypes=tuple(np.dtype(d) for d in ("int8", "uint8", "int16"))),
        Case("special values", (sprinkled(numbers((6, 4))), sprinkled(numbers((4, 5)))),
             {"dimension_numbers": MATMUL, "preferred_element_type": None}, smooth=False),
    ],
)  # fmt: skip


def _conv_case(lhs: Shape, rhs: Shape, params: dict[str, Any], name: str, **options: Any) -> Case:
    big = math.prod(lhs) + math.prod(rhs) > 300
    return Case(name, (numbers(lhs), numbers(rhs)), params, smooth=not big, **options)


NHWC, HWIO, NCHW, OIHW = (0, 3, 1, 2), (3, 2, 0, 1), (0, 1, 2, 3), (0, 1, 2, 3)


def _conv_2d(
    strides: Shape = (1, 1), pads: Any = ((1, 1), (1, 1)), base: Shape = (1, 1), dilation: Shape = (1, 1),
    features: int = 1, batches: int = 1, first: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Channels last, or first."""
    layout = (NCHW, OIHW, NCHW) if first else (NHWC, HWIO, NHWC)
    return conv_params(strides, pads, base, dilation, *layout, features, batches)


spec(
    "conv_general_dilated", NUMBER, wrt=(0, 1), tolerance=TERMS,
    cases=[
        _conv_case((2, 5, 4, 3), (3, 3, 3, 2), _conv_2d(), "NHWC 3x3", everywhere=True, layouts=True),
        _conv_case((2, 3, 5, 4), (2, 3, 3, 3), _conv_2d(first=True), "NCHW 3x3", layouts=True),
        *(_conv_case(*conv_config(s), name=f"seed {s} {conv_config(s)[:2]}") for s in range(26)),
        _conv_case((2, 13, 11, 5), (3, 3, 5, 7), _conv_2d(), "NHWC 3x3 5->7"),
        _conv_case((3, 14, 14, 1), (3, 3, 1, 32), _conv_2d(), "NHWC 3x3 1->32"),
        _conv_case((2, 9, 9, 33), (3, 3, 33, 17), _conv_2d((2, 2)), "NHWC 3x3 stride 2 33->17"),
        _conv_case((2, 8, 7, 12), (1, 1, 12, 20), _conv_2d(pads=((0, 0), (0, 0))), "NHWC 1x1"),
        _conv_case((2, 9, 9, 6), (3, 3, 1, 12), _conv_2d(features=6), "NHWC depthwise"),
        _conv_case((2, 6, 7, 4), (3, 3, 4, 5), _conv_2d(pads=((2, 2), (2, 2)), base=(2, 2)), "NHWC transposed"),
        _conv_case((2, 11, 10, 4), (3, 3, 4, 5), _conv_2d(dilation=(2, 3)), "NHWC atrous"),
        _conv_case((2, 5, 12, 13), (8, 5, 5, 5), _conv_2d(pads=((2, 2), (2, 2)), first=True), "NCHW 5x5"),
        Case("special values", (sprinkled(numbers((1, 5, 5, 2))), numbers((3, 3, 2, 3))), _conv_2d(), smooth=False),
    ],
)  # fmt: skip

# ----------------------------------------------------------------------------------------- windows

POOL = ((1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1,) * 4, (1,) * 4)
OVERLAPPING = ((1, 3, 3, 1), (1, 1, 2, 1), ((0, 0), (1, 1), (0, 2), (0, 0)), (1,) * 4, (1,) * 4)
WINDOWS: list[tuple[str, Shape, tuple[Any, ...]]] = [
    ("pool", (2, 6, 5, 3), POOL),
    ("overlapping", (1, 5, 6, 2), OVERLAPPING),
    ("large pool", (2, 13, 15, 20), POOL),
    ("large overlapping", (1, 11, 17, 9), OVERLAPPING),
    *((f"seed {s} {window_config(s)}", *window_config(s)) for s in range(11)),
]


def _counts(shape: Shape, window: tuple[Any, ...]) -> Shape:
    return window_counts(shape, *window)


def _window_cases(operands: Callable[[Shape, tuple[Any, ...]], tuple[Draw, ...]], more: bool = False) -> list[Case]:
    return [
        Case(name, operands(shape, w), {**window_params(w), **({"operand_shape": shape} if more else {})},
             everywhere=k == 0, layouts=k < 2, smooth="large" not in name)
        for k, (name, shape, w) in enumerate(WINDOWS)
    ]  # fmt: skip


def _odd_windows(draw: Draw) -> Case:
    return Case("special values", (sprinkled(draw),), window_params(OVERLAPPING), smooth=False)


def _taps(window: tuple[Any, ...], counts: Shape) -> Draw:
    return integers(counts, 0, max(1, math.prod(window[0])))


_ODD = numbers((2, 5, 6, 3))
_BY_DISTINCT = _window_cases(lambda shape, w: (distinct(shape),))
spec("reduce_window_sum", NUMBER, [*_window_cases(lambda shape, w: (numbers(shape),)), _odd_windows(_ODD)],
     wrt=(0,), tolerance=TERMS)  # fmt: skip
for _name in ("reduce_window_max", "reduce_window_min"):
    spec(_name, ORDERED, [*_BY_DISTINCT, _odd_windows(_ODD)], wrt=(0,), tolerance=EQUAL)
for _name in ("reduce_window_argmax", "reduce_window_argmin"):
    spec(_name, ORDERED, [*_window_cases(lambda shape, w: (few(shape),)), _odd_windows(few((2, 5, 6, 3)))])
spec("window_select", ANY, _window_cases(lambda s, w: (numbers(s), _taps(w, _counts(s, w)))), wrt=(0,))
spec("window_scatter_add", NUMBER,
     _window_cases(lambda s, w: (numbers(_counts(s, w)), _taps(w, _counts(s, w))), more=True), wrt=(0,),
     tolerance=TERMS)  # fmt: skip

# ---------------------------------------------------------------------------------------- indexing

INDEX_DTYPES = ("int32", "int64", "int8", "uint32", "int16", "uint8")


def _gather_params(numbers_: Any, sizes: Shape, mode: str, fill: Any = None) -> dict[str, Any]:
    return {"dimension_numbers": numbers_, "slice_sizes": sizes, "mode": mode, "fill_value": fill}


def _index_draw(shape: Shape, seed: int) -> Draw:
    dtype = INDEX_DTYPES[seed % len(INDEX_DTYPES)]
    return integers(shape, 0 if dtype.startswith("u") else -1, 4, dtype)


def _gather_case(seed: int) -> Case:
    shape, sizes, dims, indices = index_config(seed)
    mode, fill = ("fill", "clip")[seed % 2], 1 if seed % 4 == 0 else None
    return Case(
        f"seed {seed} {shape} {sizes} {dims} {mode}", (numbers(shape), _index_draw(indices, seed)),
        lambda dtype: _gather_params(dims, sizes, mode, fill if fill is None or dtype.kind != "b" else True),
        smooth=fill is not None or mode == "clip",
    )  # fmt: skip


ROWS, ALONG = ((1,), (0,), (0,), (), ()), ((), (1,), (1,), (0,), (0,))
spec(
    "gather", ANY, wrt=(0,),
    cases=[
        Case("rows", (numbers((6, 3)), integers((4, 1), -2, 8)), _gather_params(ROWS, (1, 3), "fill"),
             smooth=False, everywhere=True, layouts=True),
        Case("along", (numbers((4, 7)), integers((4, 3, 1), 0, 7)), _gather_params(ALONG, (1, 1), "promise_in_bounds"),
             layouts=True),
        *map(_gather_case, range(24)),
        Case("many rows", (numbers((100, 33)), integers((57, 1), -1, 101)), _gather_params(ROWS, (1, 33), "clip"),
             smooth=False),
        Case("many scalars", (numbers((500,)), integers((777, 1), 0, 500)),
             _gather_params(((), (0,), (0,), (), ()), (1,), "fill"), smooth=False),
        Case("no indices", (numbers((6, 3)), integers((0, 1), 0, 1)), _gather_params(ROWS, (1, 3), "fill")),
    ],
)  # fmt: skip


def _scatter_params(dims: Any, mode: str, unique: bool = False) -> dict[str, Any]:
    return {"dimension_numbers": dims, "mode": mode, "indices_are_sorted": False, "unique_indices": unique}


def _scatter_case(seed: int, both: bool) -> Case:
    shape, sizes, dims, indices = index_config(seed)
    mode = ("clip", "fill")[seed % 2]
    updates = update_shape(sizes, indices, dims)
    return Case(
        f"seed {seed} {shape} {sizes} {dims} {mode}",
        (distinct(shape, 0.1), _index_draw(indices, seed), lambda rng, d: distinct(updates, 0.1)(rng, d) + d.type(0.05)
         if dtypes.is_inexact(d) else numbers(updates)(rng, d)),
        _scatter_params(dims, mode),
        wrt=(0, 2) if both else (0,),
    )  # fmt: skip


for _k, (_name, _allowed, _tolerance) in enumerate((
    ("scatter", ANY, EXACT), ("scatter_add", NUMBER, TERMS), ("scatter_mul", NUMBER, Tolerance(16.0)),
    ("scatter_min", ANY, EQUAL), ("scatter_max", ANY, EQUAL),
)):  # fmt: skip
    spec(
        _name, _allowed, wrt=(0, 2), tolerance=_tolerance, linear=(0,) if _name == "scatter_mul" else None,
        cases=[
            Case("rows", (numbers((6, 3)), permutation(8, 4), numbers((4, 3))), _scatter_params(ROWS, "fill", True)),
            Case("repeated rows", (distinct((5, 3)), integers((7, 1), -1, 6), numbers((7, 3))),
                 _scatter_params(ROWS, "fill"), everywhere=True, layouts=True,
                 wrt=(0,) if _name == "scatter_mul" else (0, 2)),
            *(_scatter_case(s, both=_name != "scatter_mul") for s in range(40 + 10 * _k, 50 + 10 * _k)),
            Case("many rows", (numbers((50, 17)), integers((200, 1), 0, 50), numbers((200, 17), 0.8, 1.2)),
                 _scatter_params(ROWS, "clip"), smooth=False),
            Case("many scalars", (numbers((300,)), integers((2001, 1), 0, 300), numbers((2001,), 0.9, 1.1)),
                 _scatter_params(((), (0,), (0,), (), ()), "fill"), smooth=False),
            Case("no updates", (numbers((5, 3)), integers((0, 1), 0, 1), numbers((0, 3))),
                 _scatter_params(ROWS, "fill"), wrt=(0,)),
        ],
    )  # fmt: skip

DYNAMIC = (((4, 3, 5), (2, 1, 5)), ((9,), (4,)), ((), ()), ((3, 0, 2), (1, 0, 2)), ((40, 33), (7, 30)))


def _starts(shape: Shape, dtype: Any = np.int32) -> tuple[Draw, ...]:
    return (integers((), -3, 6, dtype),) * len(shape)


spec(
    "dynamic_slice", ANY, wrt=(0,),
    cases=[
        Case(f"{shape} {sizes}", (numbers(shape), *_starts(shape, ("int32", "int64", "int8")[k % 3])),
             {"slice_sizes": sizes}, everywhere=k == 0, layouts=k < 2)
        for k, (shape, sizes) in enumerate(DYNAMIC)
    ],
)  # fmt: skip
spec(
    "dynamic_update_slice", ANY, wrt=(0, 1),
    cases=[
        Case(f"{shape} {sizes}", (numbers(shape), numbers(sizes), *_starts(shape, ("int32", "int64", "int16")[k % 3])),
             everywhere=k == 0, layouts=k < 2)
        for k, (shape, sizes) in enumerate(DYNAMIC)
    ],
)  # fmt: skip

# ----------------------------------------------------------------------------------------- sorting


def _sort(dimension: int, num_keys: int = 1) -> dict[str, Any]:
    return {"dimension": dimension, "is_stable": True, "num_keys": num_keys}


spec(
    "sort", ANY, wrt=(0,),
    cases=[
        Case("rows", (distinct((3, 7)),), _sort(1), everywhere=True, layouts=True),
        Case("columns with ties", (few((9, 4)), numbers((9, 4))), _sort(0), smooth=False, layouts=True),
        Case("middle", (distinct((2, 5, 3)),), _sort(1)),
        Case("two keys", (few((3, 8)), few((3, 8)), numbers((3, 8))), _sort(1, 2), smooth=False),
        Case("payload of another dtype", (few((4, 9)), integers((4, 9), 0, 99)), _sort(1), smooth=False),
        Case("special values", (sprinkled(few((5, 19))), numbers((5, 19))), _sort(1), smooth=False),
        Case("nothing", (numbers((2, 0)),), _sort(1)), Case("no rows", (numbers((0, 3)),), _sort(1)),
        Case("long", (numbers((700,)),), _sort(0), smooth=False),
        Case("long rows with positions", (few((3, 301), 50), integers((3, 301), 0, 9)), _sort(1), smooth=False),
    ],
)  # fmt: skip
spec(
    "top_k", ORDERED, wrt=(0,),
    cases=[
        Case("3 of 7", (distinct((2, 7)),), {"k": 3}, everywhere=True, layouts=True),
        Case("ties", (few((3, 9)),), {"k": 4}, smooth=False),
        Case("all", (distinct((5,)),), {"k": 5}), Case("none", (distinct((2, 3)),), {"k": 0}),
        Case("no rows", (distinct((0, 3)),), {"k": 2}),
        Case("special values", (sprinkled(few((4, 11))),), {"k": 6}, smooth=False),
        Case("17 of 300", (distinct((3, 300)),), {"k": 17}, smooth=False),
        Case("200 of 301", (few((2, 301), 90),), {"k": 200}, smooth=False),
    ],
)  # fmt: skip

spec(
    "order_statistic", ORDERED, wrt=(0,),
    cases=[
        Case("of rows", (distinct((3, 7)), integers((3, 2), 0, 6)), {}, everywhere=True, layouts=True),
        Case("beyond the ends", (distinct((2, 5)), integers((2, 9), -3, 8)), {}, smooth=False),
        Case("ties", (few((4, 9)), integers((4, 3), 0, 8)), {}, smooth=False),
        Case("of one", (distinct((3, 1)), integers((3, 2), 0, 2, np.int64)), {}), Case("none", (distinct((2, 3)), integers((2, 0), 0, 2)), {}),
        Case("no rows", (distinct((0, 3)), integers((0, 2), 0, 2)), {}),
        Case("special values", (sprinkled(few((4, 11))), integers((4, 11), 0, 10)), {}, smooth=False),
        Case("long", (numbers((2, 9001)), integers((2, 5), 0, 9000)), {}, smooth=False),
        Case("long with special values", (sprinkled(few((1, 5003))), integers((1, 16), 0, 5002)), {}, smooth=False),
        Case("many of a long row", (numbers((5003,)), integers((40,), 0, 5002)), {}, smooth=False),
    ],
)  # fmt: skip


def _nonzero(length: int, index: str = "int32") -> dict[str, Any]:
    return {"length": length, "index_dtype": np.dtype(index)}


spec(
    "nonzero", BOOL,
    cases=[
        Case(f"{size} of {s}", (flags(s),), _nonzero(size, index), everywhere=k == 0, layouts=k < 2)
        for k, (s, size, index) in enumerate((
            ((3, 7), 4, "int32"), ((2, 3, 40), 40, "int64"), ((9,), 0, "int32"), ((0, 5), 3, "int32"), ((2, 0), 3, "int32"), ((1000,), 1000, "int32"),
            ((5, 333), 90, "int64"), ((2, 70_001), 70_001, "int32"), ((70_001,), 40_000, "int64"), ((140_000,), 300, "int32"), ((67,), 200, "int32"),
        ))
    ],
)  # fmt: skip

# --------------------------------------------------------------------------------------------- fft

TRANSFORMED = (
    ((2, 5), 1),
    ((6, 3), 0),
    ((2, 7, 4), 1),
    ((1,), 0),
    ((2,), 0),
    ((3, 8), 1),
    ((0, 4), 1),
    ((37, 2), 0),
    ((3, 64), 1),
)


def _fft_case(kind: str, shape: Shape, axis: int, length: int, k: int) -> Case:
    def draw(rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        x = numbers(shape)(rng, dtype)
        if kind == "rfft":
            return np.ascontiguousarray(x.real)
        return x

    params = {"kind": kind, "length": length, "axis": axis}
    return Case(f"{kind} {length} along {axis} of {shape}", (draw,), params, everywhere=k == 0, layouts=k == 0)


def _fft_cases() -> list[Case]:
    cases = []
    for kind in ("fft", "ifft", "rfft", "irfft"):
        for k, (shape, axis) in enumerate(TRANSFORMED):
            n = shape[axis]
            lengths = (2 * n - 2, 2 * n - 1) if kind == "irfft" else (n,)
            cases += [_fft_case(kind, shape, axis, length, k) for length in lengths if length]
    return cases


# computed in single precision where NumPy may take double precision; errors are of the size of the whole row
spec("fft", (C64, C128), _fft_cases(), wrt=(0,), tolerance=Tolerance(24.0, floor=8.0, complex_ulps=24.0))

# -------------------------------------------------------------------------------- factorisations

MATRICES = (F32, F64, C64, C128)
FACTORS = Tolerance(600.0, floor=1.0)  # NumPy computes them in double precision; eight digits of float64 remain
M33, M53, M35 = (2, 3, 3), (5, 3), (3, 5)


def adjoint(x: Any) -> Any:
    x = S.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))
    return E.conj(x) if dtypes.is_complex(x.dtype) else x


def _sizes(x: Any) -> Any:
    """|x|^2, which does not depend on the phases of eigenvectors."""
    return E.real(E.mul(x, E.conj(x))) if dtypes.is_complex(x.dtype) else E.mul(x, x)


def _factor_cases(
    draw: Callable[[Shape], Draw], shapes: tuple[Shape, ...], params: Any = None, layouts: bool = False, **options: Any
) -> list[Case]:
    """``layouts`` only where the factors of a matrix of equal rows, a broadcast operand, are unique."""
    return [
        Case(f"{s}{' ' if params else ''}{params or ''}", (draw(s),), params or {}, everywhere=k == 0,
             layouts=layouts and k == 0, **options)
        for k, s in enumerate(shapes)
    ]  # fmt: skip


SQUARE: tuple[Shape, ...] = (M33, (1, 1), (0, 0), (2, 0, 3, 3), (9, 9))
OBLONG: tuple[Shape, ...] = (M53, M35, (2, 3, 3), (0, 3), (3, 0), (2, 4, 1))


def _damaged(draw: Callable[[Shape], Draw], params: Any = None, **options: Any) -> Case:
    return Case("NaN, infinity, zero", (damaged(draw((4, 3, 3))),), params or {}, smooth=False, **options)


spec("cholesky", MATRICES, [*_factor_cases(positive_definite, SQUARE, layouts=True), _damaged(positive_definite)], wrt=(0,),
     tolerance=FACTORS)  # fmt: skip
spec(
    "lu",
    MATRICES,
    [*_factor_cases(general_matrix, OBLONG, layouts=True), _damaged(general_matrix)],
    wrt=(0,),
    tolerance=FACTORS,
)
spec("lu_pivots_to_permutation", (np.dtype("int32"),),
     [Case(f"{s} {n}", (integers(s, 0, max(n, 1)),), {"permutation_size": n}, everywhere=k == 0, layouts=k == 0)
      for k, (s, n) in enumerate((((2, 3), 5), ((4,), 4), ((0,), 2), ((2, 0, 3), 3)))])  # fmt: skip


def _geqrf_back(x: Any) -> Any:
    packed, taus = fx.lax.linalg.geqrf(x)
    return fx.lax.dot(
        fx.lax.linalg.householder_product(packed, taus), matrices.triu(joining.slice(packed, (0, 0), (3, 3)))
    )


def _qr_back(x: Any) -> Any:
    return fx.lax.dot(*fx.lax.linalg.qr(x, full_matrices=False))


spec("geqrf", MATRICES, tolerance=FACTORS,
     cases=[*_factor_cases(general_matrix, OBLONG),
            Case("multiplied", (general_matrix((5, 3)),), f=_geqrf_back, layouts=True)])  # fmt: skip
spec("hessenberg", MATRICES, [*_factor_cases(general_matrix, SQUARE), _damaged(general_matrix)], tolerance=FACTORS)


def _qr_of_all(x: Any) -> Any:
    """Q's columns that are not determined, as the projection on the space that they span."""
    q, r = fx.lax.linalg.qr(x, full_matrices=True)
    rest = joining.slice(q, (0, x.shape[1]), q.shape)
    return joining.slice(q, (0, 0), (q.shape[0], x.shape[1])), r, fx.lax.dot(rest, adjoint(rest))


spec(
    "qr", MATRICES, wrt=(0,), tolerance=FACTORS,
    cases=[
        *_factor_cases(general_matrix, OBLONG, {"full_matrices": False, "pivoting": False}),
        Case("all columns", (general_matrix((5, 3)),), f=_qr_of_all),
        Case("multiplied", (general_matrix((5, 3)),), f=_qr_back, layouts=True, smooth=False),
        *_factor_cases(general_matrix, OBLONG, {"full_matrices": True, "pivoting": False}, smooth=False),
        *_factor_cases(general_matrix, OBLONG, {"full_matrices": False, "pivoting": True}),
        *_factor_cases(general_matrix, OBLONG, {"full_matrices": True, "pivoting": True}, smooth=False),
    ],
)  # fmt: skip


def _svd_of(full: bool) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        u, s, vh = fx.lax.linalg.svd(x, full_matrices=full)
        return s, _sizes(u), _sizes(vh)

    return f


VALUES, THIN, WHOLE = ({"full_matrices": f, "compute_uv": c} for f, c in ((False, False), (False, True), (True, True)))
spec(
    "svd", MATRICES, wrt=(0,), tolerance=FACTORS,
    cases=[
        *_factor_cases(general_matrix, OBLONG, VALUES, layouts=True),
        *(Case(f"vectors {s}", (general_matrix(s),), f=_svd_of(False), everywhere=s == M53) for s in (M53, M35, M33)),
        *_factor_cases(general_matrix, OBLONG, THIN, smooth=False),
        *_factor_cases(general_matrix, OBLONG, WHOLE, smooth=False),
        _damaged(general_matrix, THIN),
    ],
)  # fmt: skip


def _eigh_of(x: Any) -> Any:
    v, w = fx.lax.linalg.eigh(x, symmetrize_input=False)
    return w, _sizes(v)


LOWER, UPPER = ({"lower": side, "compute_vectors": True} for side in (True, False))
spec(
    "eigh", MATRICES, wrt=(0,), tolerance=FACTORS,
    cases=[
        *_factor_cases(positive_definite, SQUARE, {"lower": True, "compute_vectors": False}, layouts=True),
        Case("vectors", (positive_definite(M33),), f=_eigh_of, everywhere=True),
        *_factor_cases(positive_definite, SQUARE, LOWER, smooth=False),
        *_factor_cases(general_matrix, SQUARE, UPPER, smooth=False),
        _damaged(positive_definite, LOWER),
    ],
)  # fmt: skip


def _eig_of(x: Any) -> Any:
    w, left, right = fx.lax.linalg.eig(x)
    return w, _sizes(left), _sizes(right)


def _largest_eigenvalue(x: Any) -> Any:
    return fx.lax.reduce_max(_sizes(fx.lax.linalg.eig(x)[0]), (0,))


spec(
    "eig", MATRICES, wrt=(0,), tolerance=FACTORS,
    cases=[
        *_factor_cases(general_matrix, SQUARE, {"left": False, "right": False}),
        Case("largest", (general_matrix((4, 4)),), f=_largest_eigenvalue, layouts=True),
        Case("vectors", (general_matrix(M33),), f=_eig_of, everywhere=True),
        Case("right", (general_matrix((4, 4)),), {"left": False, "right": True}, smooth=False),
        _damaged(general_matrix, {"left": False, "right": True}),
    ],
)  # fmt: skip


def _schur_of(x: Any) -> Any:
    """The matrix again, and 0 where T and Z^H Z have zeros."""
    t, z = fx.lax.linalg.schur(x)
    below = 1 if dtypes.is_complex(x.dtype) else 2
    return (
        fx.lax.batch_matmul(fx.lax.batch_matmul(z, t), adjoint(z)),
        matrices.tril(t, -below),
        fx.lax.batch_matmul(adjoint(z), z),
    )


_ROTATION = np.array([[1.0, 3, 2, 1], [-2, 1, 0.5, 3], [0, 0.2, 2, -4], [0.1, 0, 3, 2]])
spec(
    "schur", MATRICES, tolerance=FACTORS,
    cases=[
        Case("2 x 2 blocks", (lambda rng, d: (_ROTATION * rng.uniform(0.9, 1.1, (4, 4))).astype(d),), f=_schur_of,
             everywhere=True),
        *(Case(str(s), (general_matrix(s),), f=_schur_of, layouts=k == 0) for k, s in enumerate(SQUARE)),
        Case("NaN, infinity, zero", (damaged(general_matrix((4, 3, 3))),), f=lambda x: E.is_finite(matrices.real_part(fx.lax.linalg.schur(x)[1]))),
    ],
)  # fmt: skip

SOLVES = [
    {"left_side": left, "lower": lower, "transpose_a": t, "conjugate_a": c, "unit_diagonal": unit}
    for left, lower, t, c, unit in (
        (True, True, False, False, False), (True, False, True, True, False), (False, True, True, False, True),
        (False, False, False, False, False), (False, True, True, True, False), (True, False, False, False, True),
    )
]  # fmt: skip
spec(
    "triangular_solve", MATRICES, wrt=(0, 1), linear=(1,), tolerance=FACTORS,
    cases=[
        *(Case(f"{k}", (triangular(M33), numbers((2, 3, 4) if p["left_side"] else (2, 4, 3))), p, everywhere=k < 2,
               layouts=k < 2) for k, p in enumerate(SOLVES)),
        Case("none", (triangular((0, 0)), numbers((0, 2))), SOLVES[0]),
        Case("no columns", (triangular((3, 3)), numbers((3, 0))), SOLVES[0]),
        Case("40 rows", (triangular((40, 40)), numbers((40, 3))), SOLVES[1], smooth=False),
        Case("NaN, infinity", (lambda rng, d: triangular((3, 3))(rng, d) * np.array([1, np.nan, 1], d),
                               numbers((3, 2))), SOLVES[0], smooth=False),
    ],
)  # fmt: skip


def _tridiagonal(shape: Shape, columns: int) -> tuple[Draw, ...]:
    return numbers(shape), numbers(shape), numbers(shape), numbers((*shape, columns))


spec(
    "tridiagonal_solve", MATRICES, wrt=(0, 1, 2, 3), linear=(3,), tolerance=Tolerance(5000.0, floor=1.0),
    cases=[
        Case(f"{s} {n}", _tridiagonal(s, n), everywhere=k == 0, layouts=k == 0)
        for k, (s, n) in enumerate((((2, 5), 2), ((1,), 3), ((2,), 1), ((0,), 2), ((4,), 0)))
    ],
)  # fmt: skip
spec(
    "triangular_sylvester", MATRICES, wrt=(0, 1, 2), linear=(2,), tolerance=FACTORS,
    cases=[
        Case(f"{m} {n} adjoint={adj}", (triangular((2, m, m)), triangular((2, n, n)), numbers((2, m, n))),
             {"adjoint": adj}, everywhere=k == 0, layouts=k == 0)
        for k, (m, n, adj) in enumerate(((3, 2, False), (2, 3, True), (1, 1, False), (0, 2, False)))
    ],
)  # fmt: skip

# ------------------------------------------------------------------- calls, callbacks, collectives


def _wave(x: Any) -> Any:
    return E.mul(E.sin(x), x)


@fx.custom_jvp
def _own_jvp(x: Any) -> Any:
    return _wave(x)


_own_jvp.defjvp(lambda p, t: (_wave(*p), E.mul(t[0], E.add(E.sin(p[0]), E.mul(p[0], E.cos(p[0]))))))


@fx.custom_batching.custom_vmap
def _own_vmap(x: Any) -> Any:
    return _wave(x)


@_own_vmap.def_vmap
def _own_vmap_rule(axis_size: int, in_batched: list[Any], x: Any) -> tuple[Any, Any]:
    return E.mul(x, E.sin(x)), in_batched[0]


@fx.custom_vjp
def _own_vjp(x: Any) -> Any:
    return _wave(x)


_own_vjp.defvjp(
    lambda x: (_wave(x), x), lambda x, ct: (E.mul(ct, E.add(E.sin(x), E.mul(x, E.cos(x)))),)
)  # fmt: skip


COLLECTIVES = ("psum", "pmax", "pmin", "all_gather", "axis_index")


def _calls(name: str, f: Callable[..., Any], *, allowed: Any = INEXACT, wrt: bool = True, **options: Any) -> None:
    shapes = ((3, 4), (2, 0)) if name in COLLECTIVES else ((3, 4), (), (0, 2))
    cases = [Case(str(s), (numbers(s),), f=f, everywhere=k == 0, smooth=wrt) for k, s in enumerate(shapes)]
    spec(name, allowed, cases, wrt=(0,) if wrt else (), tolerance=Tolerance(8.0, floor=1.0), **options)


def _along_axis(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return vmap(f, axis_name="i")


def _doubled(x: np.ndarray) -> list[np.ndarray]:
    return [x + x]


def _call_python(x: Any) -> Any:
    out = (Aval(x.shape, x.dtype),)
    return bind(pure_callback_p, x, callback=_doubled, out_avals=out, vmap_method="broadcast_all")


def _ask_python(x: Any) -> Any:
    out = (Aval(x.shape, x.dtype),)
    return bind(io_callback_p, x, callback=_doubled, out_avals=out, ordered=False)


SEEN: list[np.ndarray] = []


def _tell_python(x: Any) -> Any:
    bind(debug_callback_p, x, callback=lambda v: SEEN.append(np.array(v)), name="remember")
    return x


NUMBERS = tuple(d for d in members(NUMBER) if not (dtypes.is_float(d) and d.itemsize == 2))


def _carried(x: Any) -> Any:
    """A carry, xs, ys, a const, a carry that stays."""
    (last, _), ys = lax.scan(lambda c, v: ((E.mul(c[0], v), c[1]), E.add(c[0], c[1])), (x[0], x[1]), x)
    return last, ys


def _repeated(x: Any) -> Any:
    i, y = lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, E.mul(c[1], x)), (0, x), max_steps=5)
    return y, i


def _chosen(x: Any) -> Any:
    return tuple(lax.switch(i, [lambda v: v, E.neg, lambda v: E.mul(v, v)], x) for i in (-1, 1, 5)) + (
        lax.cond(E.eq(x, x).all(), lambda v: E.add(v, v), E.neg, x),
    )


def _solved(x: Any) -> Any:
    two = E.mul(x, x) * 0 + 2
    return lax.custom_linear_solve(lambda v: E.mul(v, two), x, lambda _, b: E.div(b, two), symmetric=True)


def _linearly(x: Any) -> Any:
    from fx.custom_derivatives import linear_call

    by = lambda r, v: E.mul(r, v)
    return linear_call(by, by, E.sin(x), x)


spec(
    "scan", NUMBERS, wrt=(0,), tolerance=Tolerance(8.0, floor=1.0),
    cases=[
        Case("rows", (numbers((3, 4), -2, 2),), f=_carried, everywhere=True), Case("scalars", (numbers((5,), -1, 2),), f=_carried),
        Case("empty rows", (numbers((2, 0)),), f=_carried),
        Case("no iteration", (numbers((0, 3)),), f=lambda x: lax.scan(lambda c, v: (c, E.sin(v)), 1.0, x)[1], dtypes=dtypes.FLOATS),
        Case("reversed", (numbers((4, 2)),), f=lambda x: lax.scan(lambda c, v: (E.sub(v, c), c), x[0], x, reverse=True)),
    ],
)  # fmt: skip
_calls("while", _repeated, allowed=NUMBERS)
_calls("cond", _chosen, allowed=NUMBERS)
_calls("linear_solve", _solved)
_calls("linear_call", _linearly)
_calls("jit", fx.jit(_wave))
_calls("checkpoint", fx.checkpoint(_wave))
_calls("name", lambda x: _wave(fx.checkpoint_name(x, "here")))
_calls("custom_jvp_call", _own_jvp)
_calls("custom_vjp_call", _own_vjp, wrt=False)  # forward mode has no rule; test_transforms holds its gradient
_calls("custom_vjp_linear", lambda x: fx.vjp(_own_vjp, x)[1](x)[0], wrt=False, recorded=False)
_calls("custom_vmap_call", _own_vmap)
_calls("pure_callback", _call_python, allowed=NUMBER, wrt=False)
_calls("io_callback", _ask_python, allowed=NUMBER, wrt=False)
_calls("debug_callback", _tell_python, allowed=ANY, wrt=False)
_calls("psum", _along_axis(lambda x: E.mul(x, psum(x, "i"))), recorded=False)
_calls("pmax", _along_axis(lambda x: E.sub(x, pmax(x, "i"))), allowed=REAL, wrt=False, recorded=False)
_calls("pmin", _along_axis(lambda x: E.sub(x, pmin(x, "i"))), allowed=REAL, wrt=False, recorded=False)
_calls("all_gather", _along_axis(lambda x: all_gather(_wave(x), "i")), recorded=False)
_calls("axis_index", _along_axis(lambda x: (x, axis_index("i"))), allowed=ANY, wrt=False, recorded=False)
