"""Fusion: which equations become one kernel, that plans verify themselves, and that fused graphs compute the same."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any
from unittest import mock

import numpy as np
import pytest
from graph_harness import check, graph_of, numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import jit
from fx.errors import GraphError
from fx.primitives import (
    cumulative as C,
)
from fx.primitives import (
    elementwise as E,
)
from fx.primitives import (
    indexing as I,
)
from fx.primitives import (
    joining as J,
)
from fx.primitives import (
    linalg as L,
)
from fx.primitives import (
    reductions as R,
)
from fx.primitives import (
    shaping as S,
)
from fx.primitives import (
    sorting as O,
)
from fx.primitives.random_bits import threefry2x32
from jit import buffers as buffers_module
from jit.buffers import plan_buffers
from jit.fuse import fuse
from jit.lower.context import LogicalBuffer
from jit.lower.registry import Step
from jit.nest.index_map import Affine, Opaque, SplitAtom, delinearize, dense_strides, linearize
from jit.plan import Buffer, BufferPlan, FusionPlan


def plan_of(f, *arrays) -> FusionPlan:
    return fuse(graph_of(f, *arrays))


def rows(v, like):
    return S.broadcast_in_dim(v, like.shape, (0,))


def columns(v, like):
    return S.broadcast_in_dim(v, like.shape, (1,))


def softmax(x):
    e = E.exp(E.sub(x, rows(R.reduce_max(x, (1,)), x)))
    return E.div(e, rows(R.reduce_sum(e, (1,)), x))


def layer_norm(x, scale, shift):
    n = x.shape[1]
    d = E.sub(x, rows(E.mul(R.reduce_sum(x, (1,)), 1 / n), x))
    var = E.mul(R.reduce_sum(E.mul(d, d), (1,)), 1 / n)
    return E.add(E.mul(E.div(d, rows(E.sqrt(E.add(var, 1e-5)), x)), columns(scale, x)), columns(shift, x))


def adam(p, g, m, v):
    m = E.add(E.mul(m, 0.9), E.mul(g, 0.1))
    v = E.add(E.mul(v, 0.999), E.mul(E.mul(g, g), 0.001))
    return [E.sub(p, E.mul(E.div(m, E.add(E.sqrt(v), 1e-8)), 1e-3)), m, v]


X = numbers((40, 50), "f4")
ROW = numbers((50,), "f4", 1)


# ------------------------------------------------------------------------------- what fuses

ONE_KERNEL = {
    "elementwise chain": (lambda x, b: [E.add(E.mul(E.tanh(x), E.exp(E.neg(E.mul(x, x)))), columns(b, x))], (X, ROW)),
    "softmax": (lambda x: [softmax(x)], (X,)),
    "log-sum-exp": (lambda x: [E.log(R.reduce_sum(E.exp(x), (1,)))], (X,)),
    "layer norm": (lambda x, a, b: [layer_norm(x, a, b)], (X, ROW, ROW)),
    "adam": (adam, (X, X, X, np.abs(X))),
    "two statistics of one array": (lambda x: [R.reduce_sum(x, (0,)), R.reduce_max(x, (0,))], (X,)),
    "masked gradient and its sum": (
        lambda x, g: (lambda d: [d, R.reduce_sum(d, (0,))])(E.mul(g, E.add(x, 1.0))),
        (X, X),
    ),
    "reshape inside": (lambda x: [E.neg(S.reshape(E.exp(x), (5, 8, 50)))], (X,)),
    "padding": (lambda x: [E.exp(J.pad(E.neg(x), 0.0, [(1, 1, 0), (0, 3, 0)]))], (X,)),
    "scalars": (lambda x: [E.mul(E.add(E.exp(x), 1.0), E.sqrt(E.exp(x)))], (np.float32(2).reshape(()),)),
}


@pytest.mark.parametrize("name", ONE_KERNEL)
def test_one_kernel(name):
    f, arrays = ONE_KERNEL[name]
    e = check(f, *arrays, scale=10)
    assert len(e.program.steps) == 1, e.explain()


def test_multiple_results_in_a_kernel():
    k, x = numbers((2, 33), "u4"), np.arange(33, dtype="u4")

    def f(k, x):
        k0, k1 = (S.reshape(J.slice(k, (i, 0), (i + 1, 33), (1, 1)), (33,)) for i in range(2))
        a, b = threefry2x32(k0, k1, x, E.add(x, x))
        return [E.bitwise_xor(a, b), b]

    assert len(check(f, k, x).program.steps) == 1


def test_library_operations_stand_alone_and_read_views():
    a, b = numbers((30, 40), "f4"), numbers((50, 40), "f4")

    def f(a, b):
        y = L.dot_general(E.neg(a), S.transpose(b, (1, 0)), (((1,), (0,)), ((), ())))
        return [E.add(y, 1.0)]

    e = check(f, a, b)
    assert [g.kind for g in e.plan.groups] == ["nest", "library", "nest"], e.explain()


def test_a_concatenation_is_whole_before_it_is_read():
    a, b = numbers((1, 5000), "f4"), numbers((1, 5000), "f4", 1)

    def f(a, b):
        both = J.concatenate([E.neg(a), E.mul(b, b)], 0)
        alone = J.concatenate([E.neg(a), J.slice(b, (0, 0), (0, 5000))], 0)
        return [R.reduce_sum(both, (0,)), E.add(alone, alone), R.reduce_max(both, (1,))]

    check(f, a, b)


def test_many_small_parts():
    xs = [numbers((), "f4", k) for k in range(30)]
    check(lambda *xs: [J.concatenate([S.reshape(x, (1,)) for x in xs], 0)], *xs)


def test_dear_values_of_several_uses_are_stored_once():
    def f(x):
        y = E.exp(x)
        return [E.add(y, S.rev(y, (0,)))]

    plan = plan_of(f, X)
    assert len(plan.groups) == 2 and any("dear to repeat" in why for why in plan.decisions.values()), str(plan)


def test_cheap_values_are_computed_again():
    plan = plan_of(lambda x: [(lambda y: E.add(y, S.rev(y, (0,))))(E.neg(x))], X)
    assert len(plan.groups) == 1 and any("cheap to repeat" in why for why in plan.decisions.values()), str(plan)


def test_what_one_image_and_vectors_give_is_not_kept_beside_the_image():
    n, wide, vector = 24, numbers((24, 16), "f4"), numbers((16,), "f4", 1)

    def batch_norm_and_gradient(x, g, scale):
        mean = lambda v: E.mul(R.reduce_sum(v, (0,)), 1 / n)
        centred = E.sub(x, columns(mean(x), x))
        inverse = E.rsqrt(E.add(mean(E.mul(centred, centred)), 1e-5))
        normal = E.mul(centred, columns(inverse, x))
        ahead = E.mul(g, columns(E.mul(scale, inverse), x))
        behind = E.add(columns(mean(ahead), x), E.mul(normal, columns(mean(E.mul(ahead, normal)), x)))
        return [E.mul(normal, columns(scale, x)), E.sub(ahead, behind), R.reduce_sum(E.mul(g, normal), (0,))]

    def two_images(x, g, scale):  # their difference is one array less to read, so that it is stored
        d = E.sub(x, g)
        return [S.rev(d, (0,)), S.rev(d, (1,)), E.mul(d, columns(scale, x))]

    def both_read_twice(x, g, scale):  # the scaled one is computed from the other, which is stored
        d = E.tanh(E.sub(x, g))
        e = E.mul(d, columns(scale, x))
        return [E.add(v, S.rev(v, (0,))) for v in (d, e)]

    for f, kept in ((batch_norm_and_gradient, 0), (two_images, 1), (both_read_twice, 1)):
        check(f, wide, wide + 1, vector)
        plan = plan_of(f, wide, wide + 1, vector)
        stored = {v for g in plan.groups for v in g.writes if v.aval.shape == wide.shape} - set(plan.outputs)
        assert len(stored) == kept, str(plan)


def test_a_dear_vector_is_not_computed_for_every_row():
    plan = plan_of(lambda x, b: [E.mul(x, columns(E.exp(b), x))], X, ROW)
    assert len(plan.groups) == 2 and any(
        "broadcasting would compute it 40 times" in why for why in plan.decisions.values()
    )


def test_every_cut_has_a_reason():
    plan = plan_of(lambda x: [R.reduce_sum(R.reduce_max(E.exp(x), (1,)), (0,))], X)
    assert len(plan.groups) == 2
    assert any(r.startswith("cut") for g in plan.groups for r in g.reasons), str(plan)


def test_fusion_off_gives_each_equation_a_kernel():
    graph = graph_of(lambda x: [softmax(x)], X)
    e = jit.compile(graph, jit.Options(fuse=False))
    assert len(e.program.steps) == len(graph.eqns)


# -------------------------------------------------------------------------------- plans verify themselves


def test_a_plan_knows_its_faults():
    plan = plan_of(lambda x: [(lambda y: E.add(y, S.rev(y, (0,))))(E.exp(x))], X)
    assert len(plan.groups) == 2
    with pytest.raises(GraphError, match="before it is written"):
        dataclasses.replace(plan, groups=plan.groups[::-1]).verify()
    with pytest.raises(GraphError, match="never written"):
        dataclasses.replace(plan, groups=plan.groups[:1]).verify()


def test_a_buffer_plan_knows_its_faults():
    a = Buffer("arena", 256, offset=0, first=0, last=3)
    BufferPlan((a, Buffer("arena", 256, offset=0, first=4, last=5)), 256).verify()
    for bad in (Buffer("arena", 64, offset=192, first=3, last=9), Buffer("arena", 64, offset=250, first=4, last=9)):
        with pytest.raises(GraphError):
            BufferPlan((a, bad), 320).verify()
    with pytest.raises(GraphError, match="lies badly"):
        BufferPlan((a,), 128).verify()


@settings(deadline=None)  # the first one may compile the runtime
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 1000)), max_size=12))
def test_arena_offsets_never_overlap(lives):
    for largest in (0, 3, buffers_module.LARGEST):
        with mock.patch.object(buffers_module, "LARGEST", largest):
            plan = _placed(lives)
        plan.verify()
        live = [sum(b.nbytes for b in plan.buffers if b.first <= t <= b.last) for t in range(12)]
        assert plan.arena_bytes >= max(live) if lives else plan.arena_bytes == 0


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 20)), max_size=25),
    st.sampled_from([0, 4, 99]),
)
def test_each_block_lies_in_the_tightest_hole(lives, largest):
    """Held against the rule in Python, for blocks (first step, steps, lines of 64 bytes) of which few sizes differ."""
    blocks = [(64 * n, first, first + steps) for first, steps, n in lives]
    by_size = sorted(range(len(blocks)), key=lambda i: (-blocks[i][0], blocks[i][1], i))
    order = by_size[:largest] + sorted(by_size[largest:], key=lambda i: (blocks[i][1], -blocks[i][0], i))
    expect, end = {}, 0
    for i in order:
        nbytes, begins, ends = blocks[i]
        met = [j for j in expect if blocks[j][0] and blocks[j][1] <= ends and begins <= blocks[j][2]]
        spans = sorted((expect[j], expect[j] + blocks[j][0]) for j in met)
        cursors = [0, *itertools.accumulate((stop for _, stop in spans), max)]
        holes = [
            (stop - c, k, c)
            for k, (c, stop) in enumerate(zip(cursors, [*(s for s, _ in spans), end]))
            if stop - c >= nbytes
        ]
        expect[i] = min(holes)[2] if holes else cursors[-1]
        end = max(end, expect[i] + nbytes)
    with mock.patch.object(buffers_module, "LARGEST", largest):
        offsets, last = buffers_module.place(np.array(blocks, np.int64).reshape(-1, 3))
    assert offsets.tolist() == [expect[i] for i in range(len(blocks))] and last == end


def test_small_values_that_live_long_leave_no_holes():
    """In the order in which they come alive, the third would lie behind the others."""
    plan = _placed([(0, 1, 6400), (2, 8, 64), (3, 1, 6400), (0, 9, 640), (5, 3, 6400)])
    assert plan.arena_bytes == 6400 + 64 + 640


def _placed(lives):
    """Buffers that are touched from a step on, for so many more, and their bytes."""
    buffers = [LogicalBuffer("arena", n) for _, _, n in lives]
    kernel: Any = None
    touched = [tuple(k for k, (a, d, _) in enumerate(lives) if a <= t <= a + d) for t in range(12)]
    return plan_buffers(buffers, [Step(kernel, (), 1, 1, "touches", reads=t) for t in touched], workers=2)


# ----------------------------------------------------------------------------------- in place


def test_a_dying_operand_is_overwritten():
    a, b = numbers((30, 30), "f4"), numbers((30, 30), "f4")
    dims = (((1,), (0,)), ((), ()))

    def f(a, b):
        y = L.dot_general(a, b, dims)
        return [L.dot_general(E.exp(E.mul(y, 1e-3)), b, dims)]

    e = check(f, a, b, scale=10)
    assert "overwrites" in e.explain()


def test_an_operand_read_elsewhere_is_not_overwritten():
    a = numbers((30, 30), "f4")
    dims = (((1,), (0,)), ((), ()))

    def f(a):
        y = L.dot_general(a, a, dims)
        z = E.add(y, S.transpose(y, (1, 0)))
        return [L.dot_general(z, z, dims)]

    assert "overwrites" not in check(f, a, scale=10).explain()


# ---------------------------------------------------------------------------------- index maps

SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@given(SHAPES, st.randoms(use_true_random=False))
def test_delinearize_inverts_linearize(shape, random):
    sizes = list(shape)
    index = tuple(Affine(0, ((k, 1),)) if n > 1 else Affine() for k, n in enumerate(shape))
    at = linearize(index, dense_strides(shape))
    assert delinearize(at, shape, sizes) == index
    flat = [s for s in shape if s > 1]
    target = [int(np.prod(flat))]
    (one,) = delinearize(at, target, sizes) if flat else (Affine(),)
    for _ in range(5):
        point = [random.randrange(n) for n in sizes]
        value = one.const + sum(c * point[k] for k, c in one.terms)
        assert value == np.ravel_multi_index(point, shape)


def test_a_reshape_asks_for_a_split_or_says_why_not():
    at = Affine(0, ((0, 1),))
    with pytest.raises(SplitAtom) as split:
        delinearize(at, (3, 4), [12])
    assert (split.value.atom, split.value.inner) == (0, 4)
    with pytest.raises(Opaque, match="do not factor"):
        delinearize(Affine(0, ((0, 3), (1, 1))), (3, 2), [2, 3])


def test_affine_arithmetic():
    a, b = Affine(1, ((0, 2),)), Affine(3, ((0, -2), (1, 5)))
    assert a + b == Affine(4, ((1, 5),))
    assert a.scale(0) == Affine() and str(a.divide(2).scale(4)) == "4*i0 + 2"
    assert b.bounds([4, 3]) == (-3, 13)


# ------------------------------------------------------------------------------- random graphs


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["float32", "int32", "complex64", "float16"]))
def test_random_graphs(seed, dtype):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 4, 6], rng.integers(0, 4)))
    arrays = [numbers(shape, dtype, int(rng.integers(99))) for _ in range(2)]
    steps = [int(s) for s in rng.integers(0, 2**31, 12)]
    check(lambda *xs: random_outputs(list(xs), steps), *arrays, scale=100)


def random_outputs(values, steps):
    for seed in steps:
        rng = np.random.default_rng(seed)
        x = values[int(rng.integers(len(values)))] if rng.random() < 0.4 else values[-1]
        rules = [r for r in RULES if x.shape or r in RULES_FOR_SCALARS]
        y = rules[int(rng.integers(len(rules)))](x, values, rng)
        if int(np.prod(y.shape)) <= 600:
            values.append(y)
    return [values[-1], values[int(rng.integers(len(values)))]]


def _pointwise(x, values, rng):
    same = [v for v in values if v.shape == x.shape]
    y = same[int(rng.integers(len(same)))]
    return [E.add, E.sub, lambda a, b: E.neg(E.add(a, b))][int(rng.integers(3))](x, y)


def _transpose(x, values, rng):
    return S.transpose(x, tuple(int(d) for d in rng.permutation(len(x.shape))))


def _reshape(x, values, rng):
    left, new = int(np.prod(x.shape)), []
    while left > 1 and len(new) < 3:
        new.append(int(rng.choice([d for d in range(1, left + 1) if left % d == 0])))
        left //= new[-1]
    return S.reshape(x, (*new, left))


def _broadcast(x, values, rng):
    d, n = int(rng.integers(len(x.shape) + 1)), int(rng.integers(1, 4))
    return S.broadcast_in_dim(x, (*x.shape[:d], n, *x.shape[d:]), tuple(k + (k >= d) for k in range(len(x.shape))))


def _reduce(x, values, rng):
    axes = tuple(k for k in range(len(x.shape)) if rng.random() < 0.5)
    ops = [R.reduce_sum] if x.dtype.kind == "c" else [R.reduce_sum, R.reduce_max, R.reduce_min]
    return ops[int(rng.integers(len(ops)))](x, axes)


def _slice(x, values, rng):
    start = [int(rng.integers(n)) for n in x.shape]
    stop = [int(rng.integers(s + 1, n + 1)) for s, n in zip(start, x.shape)]
    return J.slice(x, start, stop, [int(rng.integers(1, 3)) for _ in start])


def _rev(x, values, rng):
    return S.rev(x, tuple(k for k in range(len(x.shape)) if rng.random() < 0.5))


def _pad(x, values, rng):
    config = [(int(rng.integers(-1 if n > 2 else 0, 3)), int(rng.integers(2)), int(rng.integers(2))) for n in x.shape]
    return J.pad(x, 0, config)


def _concatenate(x, values, rng):
    d = int(rng.integers(len(x.shape)))
    fit = [
        v
        for v in values
        if len(v.shape) == len(x.shape) and all(a == b for k, (a, b) in enumerate(zip(v.shape, x.shape)) if k != d)
    ]
    return J.concatenate([x, *(fit[int(rng.integers(len(fit)))] for _ in range(int(rng.integers(1, 3))))], d)


RULES_FOR_SCALARS = [_pointwise, _broadcast]
RULES = [*RULES_FOR_SCALARS, _pointwise, _transpose, _reshape, _reduce, _reduce, _slice, _rev, _pad, _concatenate]


def test_group_titles_and_plan_text():
    plan = plan_of(lambda x: [softmax(x)], X)
    text = str(plan)
    assert "rows over 40x50, reduced over [1]" in text and "joins" in text


# ------------------------------------------------------------------- views into library operations


def _disguised(shape):
    """A larger array of which a value of ``shape`` is a view, and the function that takes the view."""
    rank = len(shape)
    perm = tuple(reversed(range(rank)))
    big = tuple(2 * n + 3 for n in reversed(shape))

    def view(x):
        x = S.rev(S.transpose(x, perm), (rank - 1,))
        return J.slice(x, (1,) * rank, tuple(2 * n + 1 for n in shape), (2,) * rank)

    return big, view


def _repeated(shape):
    return shape[-1:], lambda x: S.broadcast_in_dim(x, shape, (len(shape) - 1,))


D = (((1,), (0,)), ((), ()))
BATCHED = (((2,), (1,)), ((0,), (0,)))
LIBRARY = {
    "dot_general": (lambda a, b: L.dot_general(a, b, D), (9, 17), (17, 33)),
    "matrix times vector": (lambda a, b: L.dot_general(a, b, (((1,), (0,)), ((), ()))), (40, 21), (21,)),
    "batched dot_general": (lambda a, b: L.dot_general(a, b, BATCHED), (3, 5, 8), (3, 8, 7)),
    "cumsum": (lambda a, b: E.add(C.cumsum(a, 1), b), (6, 20), (6, 20)),
    "sort": (lambda a, b: E.add(O.sort(a, 0), b), (20, 3), (20, 3)),
    "dynamic_slice": (lambda a, b: E.add(I.dynamic_slice(a, (np.int32(2), np.int32(1)), (3, 4)), b), (8, 9), (3, 4)),
    "dynamic_update_slice": (lambda a, b: I.dynamic_update_slice(a, b, (np.int32(2), np.int32(1))), (8, 9), (3, 4)),
}


@pytest.mark.parametrize("disguise", [_disguised, _repeated])
@pytest.mark.parametrize("name", LIBRARY)
def test_library_operations_take_any_view(name, disguise):
    f, left, right = LIBRARY[name]
    (big_a, view_a), (big_b, view_b) = disguise(left), disguise(right)
    check(lambda a, b: [f(view_a(a), view_b(b))], numbers(big_a, "f4"), numbers(big_b, "f4", 1))
