"""Loops that compute every row by itself run in blocks of rows: the same numbers as a loop in NumPy, the same bits on any number of
threads; and loops in which rows meet do not."""

import signal
import threading

import numpy as np
import pytest

import fx
import fx.lax as lax
import fx.numpy as fnp
from jit.images import without_images
from jit.lower import by_rows as rule
from jit.lower import control_flow
from jit.threads import using_threads

T = 5


@pytest.fixture
def eager_cutting(monkeypatch):
    """Blocks of few rows, whatever the work: the sizes of these tests would not be worth them."""
    for name, value in {
        "LEAST_NS": 0.0, "PIECE_NS": 0.0, "STEP_NS": 1e-3, "PRODUCT_STEP_NS": 1e-3, "ROWS": 2, "WEIGHTY_ROWS": 2, "LINE": 4, "REPEATED": 0,
    }.items():  # fmt: skip
        monkeypatch.setattr(rule, name, value)
    monkeypatch.setattr(control_flow, "is_small", lambda graph: False)
    with without_images():
        yield


def _affine(xp, n):
    w = _draw(3, 3)
    return lambda c, x: (xp.tanh(c @ w + x), xp.sum(c * x, axis=1)), _draw(n, 3), _draw(T, n, 3)


def _two_states(xp, n):
    def body(c, x):
        p, v = c
        v = v - 0.1 * p + x
        return (p + 0.1 * v, v), p

    return body, (_draw(n), _draw(n)), _draw(T, n)


def _counter(xp, n):
    """A carry that all rows share, and one of whole numbers."""

    def body(c, x):
        i, s, k = c
        return (i + 1, s * 0.5 + x * xp.cos(0.1 * i) + k[:, None], k + 1), s

    return body, (np.float32(0), _draw(n, 2), np.arange(n, dtype=np.int32)), _draw(T, n, 2)


def _shapes(xp, n):
    """What moves elements, but none to another row."""
    half = _draw(n, 2)

    def body(c, x):
        y = xp.concatenate([c[:, 1:], x[:, :1]], axis=1) + xp.broadcast_to(half[:, :1], (n, 4))
        z = xp.transpose(xp.reshape(y, (n, 2, 2)), (0, 2, 1))
        return xp.reshape(z, (n, 4)) * 0.5, xp.max(z, axis=2)

    return body, _draw(n, 4), _draw(T, n, 4)


def _batched(xp, n):
    """A product for each row."""
    w = _draw(n, 2, 2)
    return lambda c, x: (xp.matmul(w, c) + x, c), _draw(n, 2, 1), _draw(T, n, 2, 1)


def _no_slices(xp, n):
    return lambda c, x: (c * c - 0.3, None), _draw(n, 2), None


def _draw(*shape):
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


BY_ROWS = [_affine, _two_states, _counter, _shapes, _batched, _no_slices]
leaves = fx.tree.leaves


def _loop(body, carry, xs, reverse=False):
    """The truth, in NumPy."""
    ys = [None] * T
    for t in reversed(range(T)) if reverse else range(T):
        carry, ys[t] = body(carry, None if xs is None else xs[t])
    return leaves((carry, None if ys[0] is None else np.stack(ys)))


def _explained(f, *args):
    return fx.jit(f).lower(*args).explain()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n", [2, 3, 8, 11])
@pytest.mark.parametrize("program", BY_ROWS, ids=lambda f: f.__name__)
def test_a_loop_in_blocks_is_the_loop(eager_cutting, program, n, reverse):
    body, carry, xs = program(fnp, n)
    f = lambda c, x: lax.scan(body, c, x, length=T, reverse=reverse)
    explained = _explained(f, carry, xs)
    assert n < 4 or "blocks 0" in explained, explained  # with products, of two rows at least
    truth = _loop(program(np, n)[0], carry, xs, reverse)
    found = []
    for threads in (1, 2, 3, 7):
        with using_threads(threads):
            found.append(leaves(fx.jit(lambda c, x: f(c, x))(carry, xs)))
    for got, *others, want in zip(*found, truth):
        assert got.dtype == want.dtype or want.dtype == np.float64
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6)
        assert all(np.array_equal(got, other) for other in others)


@pytest.mark.parametrize("n", [8, 11])
@pytest.mark.parametrize("program", [_affine, _two_states, _batched], ids=lambda f: f.__name__)
def test_gradients_in_blocks(eager_cutting, program, n):
    body, carry, xs = program(fnp, n)

    def loss(carry, xs):
        return sum(fnp.sum(x**2) for x in leaves(lax.scan(body, carry, xs)))

    explained = _explained(fx.grad(loss, (0, 1)), carry, xs)
    assert explained.count("each computed by itself") == 2, explained
    direction = fx.tree.map(lambda x: np.float64(_draw(*x.shape)), (carry, xs))
    wide = fx.tree.map(np.float64, (carry, xs))
    numpy_body = program(np, n)[0]
    value = lambda h: sum(
        np.sum(x**2) for x in _loop(numpy_body, *fx.tree.map(lambda x, d: x + h * d, wide, direction))
    )
    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    gradient = fx.jit(fx.grad(loss, (0, 1)))(carry, xs)
    found = sum(np.vdot(np.float64(g), d) for g, d in zip(leaves(gradient), leaves(direction)))
    np.testing.assert_allclose(found, slope, rtol=2e-4)


def _meeting(n):
    """Bodies in which a row needs others, or which make what all rows share."""
    w = _draw(n, n)
    return {
        "sum over rows": lambda c, x: (c - c.sum(0), None),
        "mean as y": lambda c, x: (c * 0.5, c.mean()),
        "neighbour": lambda c, x: (fnp.concatenate([c[1:], c[:1]], 0) * 0.5, None),
        "reversed": lambda c, x: (c[::-1] * 0.5, None),
        "transposed": lambda c, x: (c.T * 0.5, None),
        "product from the left": lambda c, x: (w @ c * 0.2, None),
        "with itself": lambda c, x: (c @ c * 0.2, None),
        "sorted": lambda c, x: (fnp.sort(c, 0), None),
        "running sum": lambda c, x: (fnp.cumsum(c, 0) * 0.5, None),
        "row and whole": lambda c, x: (c @ w * 0.2 + w, None),
        "one element": lambda c, x: (c * c[0, 0], None),
        "reshaped": lambda c, x: (fnp.reshape(fnp.reshape(c, (-1,)), c.shape) * 0.5 + fnp.reshape(c, (2, -1)).sum(), None),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(_meeting(4)))
def test_rows_that_meet_are_not_cut(eager_cutting, name):
    n = 8
    body, c = _meeting(n)[name], _draw(n, n)
    f = lambda c: lax.scan(body, c, None, length=T)
    assert "each computed by itself" not in _explained(f, c)
    got, truth = fx.jit(f)(c), c
    for _ in range(T):
        truth = np.asarray(body(fnp.asarray(truth), None)[0])
    np.testing.assert_allclose(got[0], truth, rtol=1e-5, atol=1e-5)


def test_counted_loops_and_donated_carries(eager_cutting):
    x = _draw(9, 2)
    f = lambda x: lax.fori_loop(0, T, lambda i, x: x * 0.5 + i, x)
    assert "each computed by itself" in _explained(f, x)
    truth = x
    for i in range(T):
        truth = truth * np.float32(0.5) + np.float32(i)
    np.testing.assert_array_equal(fx.jit(f)(x), truth)
    np.testing.assert_array_equal(fx.jit(f, donate_argnums=0)(fnp.array(x)), truth)


def test_other_numbers_of_rows_are_filled_in_with_the_same_bits(eager_cutting):
    w = _draw(3, 3)

    def f(c, xs):
        return lax.scan(lambda c, x: (fnp.tanh(c @ w + x), c), c, xs)

    kept = fx.jit(f)
    for n in (12, 16, 9, 24, 13, 17):
        c, xs = _draw(n, 3), _draw(T, n, 3)
        for a, b in zip(leaves(kept(c, xs)), leaves(fx.jit(lambda c, xs: f(c, xs))(c, xs))):
            np.testing.assert_array_equal(a, b)
    misses = str(kept.explain_misses())
    assert misses.count("filled in") >= 4, misses


def test_worth_by_size():
    """Blocks where there is work for two, and none where a row would be one of few that read a large matrix."""
    w = _draw(128, 128)
    loop = lambda c: lax.scan(lambda c, _: (fnp.tanh(c @ w), None), c, None, length=50)[0]
    cut = {n: "each computed by itself" in _explained(loop, _draw(n, 128)) for n in (1, 4, 32, 4096)}
    assert cut == {1: False, 4: False, 32: True, 4096: False}
    grow = lambda c: lax.scan(lambda c, _: (c * 0.9 + 0.1, None), c, None, length=50)[0]
    assert "each computed by itself" not in _explained(grow, _draw(100))
    explained = _explained(grow, _draw(1 << 20))
    assert "each computed by itself" in explained


def test_calls_at_the_same_time(eager_cutting):
    """One of them has the pool, the others run on their own threads."""
    body, carry, xs = _affine(fnp, 64)
    f = fx.jit(lambda c, x: lax.scan(body, c, x))
    with using_threads(3):
        truth = leaves(f(carry, xs))
        wrong = []

        def call():
            for _ in range(50):
                wrong.extend(not np.array_equal(a, b) for a, b in zip(leaves(f(carry, xs)), truth))

        threads = [threading.Thread(target=call) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert not any(wrong)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers on this platform")
def test_control_c_ends_the_blocks():
    x = _draw(1 << 16)
    f = fx.jit(lambda x, n: lax.scan(lambda c, _: (c * 0.999 + 0.001, None), x, None, length=n)[0], static_argnums=1)
    assert "each computed by itself" in f.lower(x, 1 << 24).explain()
    short = np.asarray(f(x, 8))
    f.lower(x, 1 << 24).compile()
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with using_threads(2):
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                f(x, 1 << 24)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    np.testing.assert_array_equal(f(x, 8), short)


def test_profile_names_the_steps_of_each_thread():
    x = _draw(1 << 18)
    f = lambda x: lax.scan(lambda c, _: (c * 0.9 + 0.1, None), x, None, length=20)[0]
    with using_threads(2):
        names = [name for name, _ in fx.jit(f).lower(x).compile().profile(x)]
    assert sum(name.startswith("repeat loop") for name in names) == 2, names
