"""Steps that go through a batch item by item run in blocks of items: the same bits, for any number of threads, and only where no item
needs another one."""

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from jit import program
from jit.images import without_images
from jit.item_blocks import in_blocks
from jit.threads import using_threads

leaves = fx.tree.leaves
MARK = "while the caches hold it"


@pytest.fixture(autouse=True)
def not_kept():
    with without_images():
        yield


def _draw(*shape):
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)


def _attention(q, k, v):
    return fnp.matmul(fx.nn.softmax(fnp.matmul(q, fnp.swapaxes(k, -1, -2)) * 0.2, axis=-1), v)


def _of_one_array(x):
    """Heads side by side, as a layer has them."""
    q, k, v = (fnp.transpose(x[:, :, i], (0, 2, 1, 3)) for i in range(3))
    return fnp.transpose(_attention(q, k, v), (0, 2, 1, 3))


def _causal(q, k, v):
    scores = fnp.matmul(q, fnp.swapaxes(k, -1, -2))
    seen = fnp.tril(fnp.ones(scores.shape[-2:], bool))
    return fnp.matmul(fx.nn.softmax(fnp.where(seen, scores, np.float32(-1e30))), v)


def _network(pool, x, w, b, v):
    """A convolution of one channel, bias, relu and pooling, and another convolution behind."""
    convolve = lambda x, w: fx.lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return convolve(pool(fx.nn.relu(convolve(x, w) + b)), v)


def _largest(x):
    return fx.lax.reduce_window(x, -np.inf, fx.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _overlapping(x):
    return fx.lax.reduce_window(x, -np.inf, fx.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")


def _means(x):
    return fx.lax.reduce_window(x, np.float32(0), fx.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def _images(pool):
    return lambda x, w, b, v: _network(pool, x, w, b, v)


def _by_planes(x, w, b):
    """Channels first."""
    y = (
        fx.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        + b[:, None, None]
    )
    return fx.lax.reduce_window(fx.nn.relu(y), -np.inf, fx.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def _gradient(f):
    return fx.grad(lambda *args: fnp.sum(f(*args) ** 2), tuple(range(f.__code__.co_argcount)))


HEADS = [_draw(3, 8, 96, 16), _draw(3, 8, 96, 16) * 0.5, _draw(3, 8, 96, 16) - 0.2]
IMAGES = [_draw(40, 22, 22, 1), _draw(3, 3, 1, 24) * np.float32(0.3), _draw(24), _draw(3, 3, 24, 4) * np.float32(0.1)]
CASES = {
    "attention": (_attention, HEADS),
    "gradient of attention": (_gradient(_attention), HEADS),
    "causal": (_causal, HEADS),
    "gradient of causal": (_gradient(_causal), HEADS),
    "one array": (_of_one_array, [_draw(3, 96, 3, 8, 16)]),
    "gradient of one array": (_gradient(_of_one_array), [_draw(3, 96, 3, 8, 16)]),
    "maps": (lambda a, b: fnp.matmul(fx.nn.relu(fnp.matmul(a, b)), b), [_draw(40, 80, 80), _draw(40, 80, 80)]),
    "uneven": (_attention, [_draw(37, 70, 9), _draw(37, 85, 9), _draw(37, 85, 9)]),
    "images": (_images(_largest), IMAGES),
    "gradient of images": (_gradient(_images(_largest)), IMAGES),
    "overlapping windows": (_images(_overlapping), IMAGES),
    "gradient of overlapping windows": (_gradient(_images(_overlapping)), IMAGES),
    "means": (_images(_means), IMAGES),
    "gradient of means": (_gradient(_images(_means)), IMAGES),
    "double": (_attention, [np.float64(x) for x in HEADS]),
}  # fmt: skip


def _with_cache(monkeypatch, nbytes):
    """Programs are cut as for a second-level cache of so many bytes; a small one takes an item, but not all."""
    cut = lambda steps, groups, buffers, l2_bytes, number: in_blocks(steps, groups, buffers, nbytes, number)
    monkeypatch.setattr(program, "in_blocks", cut)


def _results(f, args):
    """The results, and what explains them."""
    jitted = fx.jit(lambda *args: f(*args))
    return [np.array(x) for x in leaves(jitted(*args))], jitted.lower(*args).explain()


@pytest.mark.parametrize("name", CASES)
def test_blocks_of_items_have_the_bits_of_whole_steps(monkeypatch, name):
    f, args = CASES[name]
    _with_cache(monkeypatch, 1 << 40)
    want, explained = _results(f, args)
    assert MARK not in explained
    for nbytes in (1 << 17, 1 << 18, 1 << 19):
        _with_cache(monkeypatch, nbytes)
        for threads in (1, 2, 3):
            with using_threads(threads):
                got, explained = _results(f, args)
            assert nbytes != 1 << 18 or MARK in explained, explained
            assert all(np.array_equal(a, b) for a, b in zip(got, want))
    with fx.disable_jit():
        truth = leaves(f(*args))
    for a, b in zip(got, truth):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_what_the_steps_alone_touch_is_held_for_a_block(monkeypatch):
    f, args = CASES["attention"]
    arena = {}
    for nbytes in (1 << 40, 1 << 18):
        _with_cache(monkeypatch, nbytes)
        with using_threads(1):
            arena[nbytes] = fx.jit(lambda *a: f(*a)).lower(*args).compile().cost_analysis()["arena_bytes"]
    scores = 3 * 8 * 96 * 96 * 4
    assert arena[1 << 40] >= scores > 4 * arena[1 << 18]


@pytest.mark.parametrize(
    "f",
    [
        lambda a: fnp.matmul(fnp.matmul(a, a)[::-1], a),
        lambda a: fnp.matmul(fx.nn.softmax(fnp.matmul(a, a), axis=0), a),
        lambda a: fnp.matmul(fnp.roll(fnp.matmul(a, a), 1, 0), a),
        lambda a: fnp.matmul(fnp.swapaxes(fnp.matmul(a, a), 0, 1), a),
        lambda a: fnp.matmul(fnp.broadcast_to(fnp.matmul(a, a)[:1], a.shape), a),
    ],
    ids=["reversed", "softmax over items", "neighbour", "exchanged", "one for all"],
)
def test_items_that_meet_are_not_cut(monkeypatch, f):
    a = _draw(64, 64, 64)
    _with_cache(monkeypatch, 1 << 40)
    want, _ = _results(f, [a])
    _with_cache(monkeypatch, 1 << 17)
    got, explained = _results(f, [a])
    assert all(np.array_equal(x, y) for x, y in zip(got, want)), explained


def test_other_batch_sizes_are_filled_in(monkeypatch):
    _with_cache(monkeypatch, 1 << 18)
    kept = fx.jit(_attention)
    for n in (24, 32, 25, 40, 31, 33):
        args = [_draw(n, 96, 16) * s for s in (1, 0.5, 0.3)]
        for a, b in zip(leaves(kept(*args)), leaves(fx.jit(lambda *a: _attention(*a))(*args))):
            np.testing.assert_array_equal(a, b)
    misses = str(kept.explain_misses())
    assert misses.count("filled in") >= 4, misses


def test_windows_over_several_images_are_not_cut(monkeypatch):
    f = lambda x: fx.lax.reduce_window(fx.nn.relu(x) * 2, -np.inf, fx.lax.max, (2, 2, 2, 1), (1, 2, 2, 1), "VALID") + 1
    for g in (f, _gradient(f)):
        x = _draw(40, 20, 20, 8)
        _with_cache(monkeypatch, 1 << 40)
        want, _ = _results(g, [x])
        _with_cache(monkeypatch, 1 << 17)
        got, explained = _results(g, [x])
        assert all(np.array_equal(a, b) for a, b in zip(got, want)), explained


@pytest.mark.parametrize("f, args", [(_by_planes, [_draw(40, 2, 22, 22), _draw(16, 2, 3, 3), _draw(16)])])
def test_channels_first(monkeypatch, f, args):
    for g in (f, _gradient(f)):
        _with_cache(monkeypatch, 1 << 40)
        want, _ = _results(g, args)
        _with_cache(monkeypatch, 1 << 17)
        got, explained = _results(g, args)
        assert all(np.array_equal(a, b) for a, b in zip(got, want)), explained


def test_other_numbers_of_images_are_filled_in(monkeypatch):
    _with_cache(monkeypatch, 1 << 18)
    f = _images(_largest)
    kept = fx.jit(f)
    for n in (40, 64, 33, 50, 41, 1, 2):
        args = [_draw(n, 22, 22, 1), *IMAGES[1:]]
        for a, b in zip(leaves(kept(*args)), leaves(fx.jit(lambda *a: f(*a))(*args))):
            np.testing.assert_array_equal(a, b)
    misses = str(kept.explain_misses())
    assert misses.count("filled in") >= 4, misses


def test_in_a_loop(monkeypatch):
    """Blocks stand in a loop's body, which runs many times."""
    f = lambda q, k, v: fx.lax.scan(lambda c, _: (_attention(c, k, v), None), q, None, length=3)[0]
    _with_cache(monkeypatch, 1 << 40)
    want, _ = _results(f, HEADS)
    _with_cache(monkeypatch, 1 << 18)
    got, explained = _results(f, HEADS)
    assert MARK in explained
    assert all(np.array_equal(a, b) for a, b in zip(got, want))
