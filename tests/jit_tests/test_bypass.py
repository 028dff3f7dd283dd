"""Results that the caches do not hold are written past them: the same numbers, from the first cache line of each row on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graph_harness import agree, check, graph_of, numbers

import jit
from fx.interpret import run_graph
from fx.primitives import elementwise as E
from fx.primitives import joining as J
from fx.primitives import reductions as R
from fx.primitives import shaping as S
from jit.target import host

SMALL_CACHE = dataclasses.replace(host(), l3_bytes=4)  # no array fits it
PAST = "# past the caches"


def rows(x, r):
    return S.broadcast_in_dim(r, x.shape, (0,))


def columns(x, c):
    return S.broadcast_in_dim(c, x.shape, (1,))


def chain(x, c):
    return [E.add(E.mul(x, x), x)]


def biased(x, c):
    return [E.max(E.add(x, columns(x, c)), x), E.sub(x, columns(x, c))]


def softmax(x, c):
    e = E.exp(E.sub(x, rows(x, R.reduce_max(x, (1,)))))
    return [E.div(e, rows(x, R.reduce_sum(e, (1,))))]


def summed_beside(x, c):
    y = E.mul(x, columns(x, c))
    return [y, R.reduce_sum(y, (1,))]


def halves(x, c):
    y = E.add(x, columns(x, c))
    return [J.concatenate((y, E.neg(x)), 1), J.concatenate((E.neg(x), y), 0)]


SHAPES = [(700, 768), (600, 1000), (9001, 73), (1, 600_007)]


@pytest.mark.parametrize("f", [chain, biased, softmax, summed_beside, halves])
def test_floats(f):
    for k, shape in enumerate(SHAPES):
        x, c = numbers(shape, "f4", k), numbers(shape[1:], "f4", k + 1)
        e = check(f, x, c, target=SMALL_CACHE)
        assert PAST in e.loops() or shape[0] == 1 or f in (summed_beside, halves), (shape, e.loops())


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint8", "bool"])
def test_other_dtypes(dtype):
    def f(x, c):
        both = E.max(x, columns(x, c))
        return [both, E.eq(x, columns(x, c))]

    for shape in [(700, 768), (4001, 333)]:
        x, c = numbers(shape, dtype), numbers(shape[1:], dtype, 1)
        assert PAST in check(f, x, c, target=SMALL_CACHE).loops()


@pytest.mark.parametrize("level", ["avx2", "sse4", "scalar"])
def test_other_machines(level):
    target = dataclasses.replace(host().restricted(level), l3_bytes=4)
    x, c = numbers((400, 1001), "f4"), numbers((1001,), "f4", 1)
    for f in (biased, softmax):
        check(f, x, c, target=target)


def test_only_whole_fresh_results():
    """Not what is written over an operand, what another step reads, what the caches hold, or small results."""
    x, c = numbers((600, 1000), "f4"), numbers((1000,), "f4", 1)
    graph = graph_of(chain, x, c)
    for options in ({"donate": (0,), "target": SMALL_CACHE}, {"target": dataclasses.replace(host(), l3_bytes=1 << 30)}):
        e = jit.compile(graph, jit.Options(verify=True, **options))
        assert PAST not in e.loops()
        agree(e(x.copy(), c)[0], run_graph(graph, (x, c))[0])
    small = numbers((10, 1000), "f4")
    assert PAST not in check(chain, small, c, target=SMALL_CACHE).loops()
    between = check(
        lambda x, c: [R.reduce_sum(S.transpose(E.exp(x), (1, 0)), (0,)), E.exp(x)], x, c, target=SMALL_CACHE
    )
    agree(between(x, c)[1], np.exp(x))


def test_the_same_bits_whatever_the_threads():
    x = np.random.default_rng(1).standard_normal((701, 907)).astype("f4")
    c = x[0].copy()
    for f in (biased, softmax):
        graph = graph_of(f, x, c)
        results = []
        for n in (1, 2, 3, 7):
            with jit.using_threads(n):
                results.append(jit.compile(graph, jit.Options(num_threads=n, target=SMALL_CACHE))(x, c))
        for other in results[1:]:
            for a, b in zip(results[0], other):
                assert a.tobytes() == b.tobytes()
