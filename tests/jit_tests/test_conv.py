"""conv_general_dilated's native loops against a naive NumPy convolution, and against JAX where it is installed."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from lower_harness import lower, prepare
from machines import x86
from ml_dtypes import bfloat16
from test_gemm import assert_close, random_array
from thorough import part

from jit.llvm.native import assembly
from jit.loop_ir import Ty, f32, f64
from jit.lower import conv
from jit.lower.types import ty_of
from jit.target import host

try:
    import jax
except ImportError:
    jax = None

NHWC = {"lhs_spec": (0, 3, 1, 2), "rhs_spec": (3, 2, 0, 1), "out_spec": (0, 3, 1, 2)}
NCHW = {"lhs_spec": (0, 1, 2, 3), "rhs_spec": (0, 1, 2, 3), "out_spec": (0, 1, 2, 3)}


def params(n: int, **changes: Any) -> dict[str, Any]:
    """Parameters of a convolution over ``n`` dimensions, channels first."""
    spec = tuple(range(n + 2))
    return {
        "window_strides": (1,) * n, "padding": ((0, 0),) * n, "lhs_dilation": (1,) * n, "rhs_dilation": (1,) * n,
        "lhs_spec": spec, "rhs_spec": spec, "out_spec": spec, "feature_group_count": 1, "batch_group_count": 1,
        "preferred_element_type": None, **changes,
    }  # fmt: skip


def result_shape(x: np.ndarray, w: np.ndarray, p: dict[str, Any]) -> tuple[int, ...]:
    shape = [0] * x.ndim
    shape[p["out_spec"][0]] = x.shape[p["lhs_spec"][0]] // p["batch_group_count"]
    shape[p["out_spec"][1]] = w.shape[p["rhs_spec"][0]]
    for i, (stride, (lo, hi), d, r) in enumerate(
        zip(p["window_strides"], p["padding"], p["lhs_dilation"], p["rhs_dilation"])
    ):
        h, k = x.shape[p["lhs_spec"][2 + i]], w.shape[p["rhs_spec"][2 + i]]
        room = max(0, ((h - 1) * d + 1 if h else 0) + lo + hi) - ((k - 1) * r + 1)
        shape[p["out_spec"][2 + i]] = room // stride + 1 if room >= 0 else 0
    return tuple(shape)


def padded(x: np.ndarray, p: dict[str, Any]) -> np.ndarray:
    """The dilated and padded image, channels first."""
    n = x.ndim - 2
    full = np.zeros(
        (*x.shape[:2], *((h - 1) * d + 1 if h else 0 for h, d in zip(x.shape[2:], p["lhs_dilation"]))), x.dtype
    )
    full[(slice(None), slice(None), *(slice(None, None, d) for d in p["lhs_dilation"]))] = x
    for axis, (lo, hi) in zip(range(2, n + 2), p["padding"]):
        end = full.shape[axis] + min(hi, 0)
        full = full.take(range(max(-lo, 0), max(end, max(-lo, 0))), axis)
        margin = [(0, 0)] * (n + 2)
        margin[axis] = (max(lo, 0), max(hi, 0))
        full = np.pad(full, margin)
    return full


def naive(x: np.ndarray, w: np.ndarray, p: dict[str, Any]) -> np.ndarray:
    """One product of channels for each window position, of all groups at once, in the given (wide) type."""
    shape = result_shape(x, w, p)
    count, features, *spatial = (shape[d] for d in p["out_spec"])
    image, window = padded(x.transpose(p["lhs_spec"]), p), w.transpose(p["rhs_spec"])
    groups = p["feature_group_count"] * p["batch_group_count"]
    window = window.reshape(groups, features // groups, *window.shape[1:])
    if p["batch_group_count"] > 1:
        image = image.reshape(groups, count, *image.shape[1:])
    else:
        image = image.reshape(len(image), groups, window.shape[2], *image.shape[2:]).swapaxes(0, 1)
    out = np.zeros((count, groups, features // groups, *spatial), x.dtype)
    for taps in np.ndindex(window.shape[3:]):
        at = tuple(
            slice(t * r, t * r + (y - 1) * s + 1 if y else t * r, s)
            for t, r, y, s in zip(taps, p["rhs_dilation"], spatial, p["window_strides"])
        )
        out += np.einsum("gnc...,goc->ngo...", image[(..., *at)], window[(..., *taps)])
    out = out.reshape(count, features, *spatial)
    return out.transpose(np.argsort(p["out_spec"]))


def check(x: np.ndarray, w: np.ndarray, p: dict[str, Any], target: Any = None) -> np.ndarray:
    kind = {"c": np.complex128, "i": np.int64, "u": np.uint64, "b": np.int64}.get(x.dtype.kind, np.float64)
    exact = naive(x.astype(kind), w.astype(kind), p)
    scale = naive(np.abs(x).astype(float), np.abs(w).astype(float), p)
    dtype = np.dtype(p["preferred_element_type"] or x.dtype)
    (found,) = lower("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), dtype)], target)
    assert_close(found, exact, scale)
    return found


def random_case(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes and parameters over 0 to 3 dimensions, all layouts, groups, strides, dilations and paddings."""
    n = int(rng.choice([0, 1, 1, 2, 2, 2, 3]))
    groups, batch_groups = int(rng.choice([1, 1, 1, 2, 3, 8])), 1
    depth, columns, count = (int(rng.choice(v)) for v in ([1, 1, 2, 3, 4, 17], [1, 2, 3, 8, 20], [1, 2, 3]))
    if groups == 1 and rng.random() < 0.25:
        batch_groups = int(rng.choice([2, 3, 8]))
    if rng.random() < 0.2:  # depthwise
        depth, groups = 1, 1 if batch_groups > 1 else int(rng.choice([8, 9, 16]))
        columns = int(rng.choice([1, 1, 2]))
    image = [int(rng.integers(1, 12 if n < 3 else 6)) for _ in range(n)]
    window = [int(rng.integers(1, 6 if n < 3 else 4)) for _ in range(n)]
    if rng.random() < 0.25:  # a window as large as the image, as in the gradient with respect to the weights
        window = [max(1, h - int(rng.integers(0, 3))) for h in image]

    def spec() -> tuple[int, ...]:
        last = (0, n + 1, *range(1, n + 1))
        return (
            tuple(rng.permutation(n + 2).tolist())
            if rng.random() < 0.3
            else last
            if rng.random() < 0.6
            else tuple(range(n + 2))
        )

    p = params(
        n,
        window_strides=tuple(rng.choice([1, 1, 2, 3], n).tolist()),
        lhs_dilation=tuple(rng.choice([1, 1, 1, 2, 3], n).tolist()),
        rhs_dilation=tuple(rng.choice([1, 1, 1, 2, 3], n).tolist()),
        padding=tuple((int(lo), int(hi)) for lo, hi in rng.integers(-1, 4, (n, 2))) if rng.random() < 0.7 else ((0, 0),) * n,
        lhs_spec=spec(), rhs_spec=spec() if rng.random() < 0.5 else (n + 1, n, *range(n)), out_spec=spec(),
        feature_group_count=groups, batch_group_count=batch_groups,
    )  # fmt: skip
    lhs, rhs = [0] * (n + 2), [0] * (n + 2)
    for shape, layout, sizes in (
        (lhs, p["lhs_spec"], (count * batch_groups, depth * groups, *image)),
        (rhs, p["rhs_spec"], (columns * groups * batch_groups, depth, *window)),
    ):
        for place, extent in zip(layout, sizes):
            shape[place] = extent
    return tuple(lhs), tuple(rhs), p


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "complex64"])
def test_random_configurations(dtype: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(dtype)])
    for k in range(8):
        lhs, rhs, p = random_case(rng)
        x, w = random_array(lhs, dtype, k), random_array(rhs, dtype, k + 1)
        if k % 4 == 0:
            w = np.flip(w)
        check(x, w, p)


BORDERS = [  # image, channels, outputs, window, strides, window dilation, padding, image dilation
    ((9, 11), 5, 7, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((8, 8), 20, 10, (5, 5), (1, 1), (1, 1), ((4, 4), (4, 4)), (1, 1)),
    ((13, 10), 3, 33, (4, 7), (2, 3), (1, 1), ((3, 0), (2, 5)), (1, 1)),
    ((12, 9), 17, 64, (3, 3), (1, 1), (2, 3), ((2, 2), (3, 1)), (1, 1)),
    ((7, 6), 32, 20, (4, 4), (1, 1), (1, 1), ((2, 3), (2, 2)), (2, 2)),  # a transposed one
    ((2, 3), 16, 16, (3, 3), (1, 1), (1, 1), ((2, 2), (1, 1)), (1, 1)),  # no output sees all of the window
    ((1, 5), 40, 24, (2, 3), (1, 1), (3, 1), ((5, 4), (3, 3)), (1, 1)),  # and some see nothing
    ((40,), 24, 10, (7,), (3,), (1,), ((3, 3),), (1,)),
    ((6, 5), 24, 16, (3, 2), (1, 1), (1, 1), ((2, 6), (5, 2)), (1, 1)),  # the first and the last see nothing
    ((4, 5), 33, 20, (3, 3), (2, 1), (1, 2), ((9, 8), (1, 7)), (2, 1)),
    ((8,), 64, 16, (5,), (1,), (1,), ((9, 7),), (1,)),
]


LEVELS = (None, "avx2", "sse2", "scalar")


def on_machines(
    cases: list[Any], dtypes: tuple[str, ...], levels: tuple[str | None, ...]
) -> list[tuple[Any, str, str | None]]:
    """Every case in float32 and in ``dtypes`` on this machine, and in float32 on every other one of the lesser ones."""
    here = [(case, dtype, None) for case in cases for dtype in ("float32", *dtypes)]
    return here + [(case, "float32", level) for k, case in enumerate(cases) for level in part(levels[1:], k, 2)]


@pytest.mark.parametrize(("case", "dtype", "level"), on_machines(BORDERS, ("float64", "int8"), LEVELS[:3]), ids=str)
def test_border_is_left_out(case: tuple, dtype: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels last and first, with weights as they are and reversed; k in one slice and in several."""
    monkeypatch.setattr(conv, "gains_parts", lambda *_: True)  # of so few images, some would be padded
    image, c, features, window, strides, dilation, padding, holes = case
    n, target = len(image), None if level is None else host().restricted(level)
    x, w = random_array((3, *image, c), dtype), random_array((*window, c, features), dtype, 1)
    last = (0, n + 1, *range(1, n + 1))
    p = params(
        n, lhs_spec=last, out_spec=last, rhs_spec=(n + 1, n, *range(n)), window_strides=strides, rhs_dilation=dilation,
        padding=padding, lhs_dilation=holes,
    )  # fmt: skip
    check(x, w, p, target)
    check(np.moveaxis(x, -1, 1).copy(), w[::-1], {**p, "lhs_spec": tuple(range(n + 2))}, target)
    for l2 in (1 << 12, 1 << 14) if dtype == "float32" else ():  # slices of the window's columns, and of its rows
        check(x, w, p, dataclasses.replace(target or host(), l2_bytes=l2))


def test_border_is_left_out_without_a_copy() -> None:
    def steps(
        image: tuple[int, int], window: int, pad: int, features: int = 10, images: int = 6, dilation: int = 1
    ) -> list[str]:
        p = params(2, padding=((pad, pad),) * 2, rhs_dilation=(dilation,) * 2, **NHWC)
        x, w = np.zeros((images, *image, 20), np.float32), np.zeros((window, window, 20, features), np.float32)
        h, _ = prepare("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), "float32")])
        return [s.name for s in h.steps]

    assert steps((8, 8), 5, 4) == steps((30, 20), 3, 1) == steps((30, 20), 3, 4) == ["conv (pack)", "conv"]
    assert steps((30, 20), 3, 1, 1) == ["conv (pad)", "conv (copy)", "conv"]  # sums along the channels
    # Most outputs are at the border: those of one image at one place there would be a register block with one row.
    assert steps((28, 28), 3, 12, images=24, dilation=12) == ["conv (pack)", "conv"]
    assert steps((28, 28), 3, 12, images=1, dilation=12) == ["conv (pad)", "conv (pack)", "conv"]


def test_layouts_of_the_window_share_kernels() -> None:
    """Forward and backward, over one axis and two; panels of weights of all widths."""
    found: dict[str, set[str]] = {"conv": set(), "conv (pack)": set()}
    for n, features in [(2, 16), (1, 16), (2, 64), (2, 128)]:
        last = (0, n + 1, *range(1, n + 1))
        x = np.zeros((24, *(20,) * n, features), np.float32)
        for rhs in ((n + 1, n), (n, n + 1)):  # the weights, and as the gradient with respect to the image reads them
            w = np.zeros((*(3,) * n, features, features), np.float32)
            p = params(n, padding=((1, 1),) * n, lhs_spec=last, out_spec=last, rhs_spec=(*rhs, *range(n)))
            h, _ = prepare("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), "float32")])
            for step in h.steps:
                name = step.kernel.kernel.name
                if not name.endswith("unit") and (step.name != "conv" or features == 16):
                    found[step.name].add(name)
    assert [len(keys) for keys in found.values()] == [1, 1], found


def test_groups_of_one_image() -> None:
    """The weights' gradient of groups of several channels: an image is one value of k, but no channel is convolved on its own."""
    x, ct = random_array((1, 7, 6, 64), "float32"), random_array((1, 7, 6, 64), "float32", 1)
    p = params(
        2, padding=((1, 1),) * 2, lhs_spec=(3, 0, 1, 2), rhs_spec=(3, 0, 1, 2), out_spec=(2, 3, 0, 1), batch_group_count=4
    )  # fmt: skip
    check(x, ct, p)
    h, _ = prepare("conv_general_dilated", [x, ct], p, [(result_shape(x, ct, p), "float32")])
    (product,) = [s for s in h.steps if s.name == "conv"]
    assert "lanewise=True" not in str(product.kernel.key)


@pytest.mark.skipif(jax is None, reason="JAX is not installed")
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_jax(seed: int) -> None:
    rng = np.random.default_rng([seed, 99])
    for k in range(4):
        lhs, rhs, p = random_case(rng)
        x, w = random_array(lhs, "float32", k), random_array(rhs, "float32", k + 1)
        numbers = jax.lax.ConvDimensionNumbers(p["lhs_spec"], p["rhs_spec"], p["out_spec"])
        names = (
            "window_strides",
            "padding",
            "lhs_dilation",
            "rhs_dilation",
            "feature_group_count",
            "batch_group_count",
        )
        try:
            expected = jax.lax.conv_general_dilated(x, w, dimension_numbers=numbers, **{n: p[n] for n in names})
        except ValueError:  # JAX refuses empty windows
            continue
        np.testing.assert_allclose(check(x, w, p), np.asarray(expected), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("dtype", ["float16", bfloat16, "int32", "uint8", "int64", "complex128", "bool"], ids=str)
def test_every_dtype(dtype: Any) -> None:
    x, w = random_array((2, 7, 6, 5), dtype), random_array((3, 3, 5, 17), dtype, 1)
    check(x, w, params(2, **NHWC, padding=((1, 1), (1, 1))))
    check(x, w, params(2, **NHWC, lhs_dilation=(2, 1), padding=((2, 1), (0, 3))))


@pytest.mark.parametrize("preferred", ["int32", "float32"])
def test_preferred_element_type(preferred: str) -> None:
    x, w = random_array((2, 7, 6, 5), "int8"), random_array((3, 3, 5, 17), "int8", 1)
    check(x, w, params(2, **NHWC, preferred_element_type=preferred))


@pytest.mark.parametrize("level", ["scalar", "sse2"])
def test_narrower_machines(level: str) -> None:
    target = host().restricted(level)
    x, w = random_array((2, 9, 8, 5), "float32"), random_array((3, 3, 5, 12), "float32", 1)
    check(x, w, params(2, **NHWC, padding=((1, 1), (1, 1))), target)
    w = random_array((3, 3, 1, 8), "float32", 1)
    check(random_array((2, 9, 8, 8), "float32"), w, params(2, **NHWC, feature_group_count=8), target)


def three_passes(
    shape: tuple[int, ...], features: int, k: int, stride: int = 1, pad: int = 0, layout: dict = NHWC
) -> list[np.ndarray]:
    """Forward, and the gradients with respect to the image and to the weights, as transposition writes them."""
    lhs_spec, rhs_spec, out_spec = (layout[n] for n in ("lhs_spec", "rhs_spec", "out_spec"))
    sizes = dict(zip(lhs_spec, shape))
    x = random_array(tuple(sizes[d] for d in range(4)), "float32")
    sizes = dict(zip(rhs_spec, (features, shape[1], k, k)))
    w = random_array(tuple(sizes[d] for d in range(4)), "float32", 1)
    h, two = shape[2], (stride, stride)
    y = check(x, w, params(2, **layout, window_strides=two, padding=((pad, pad),) * 2))
    ct = random_array(y.shape, "float32", 2)
    rows = (h + 2 * pad - k) // stride + 1
    swap = lambda spec: (spec[1], spec[0], *spec[2:])  # noqa: E731
    high = h + pad - 1 - (rows - 1) * stride
    grad_x = check(ct, np.flip(w, rhs_spec[2:]), params(
        2, lhs_dilation=two, padding=((k - 1 - pad, high),) * 2, lhs_spec=out_spec, rhs_spec=swap(rhs_spec), out_spec=lhs_spec,
    ))  # fmt: skip
    assert grad_x.shape == x.shape
    rest = (rows - 1) * stride + k - h - pad
    grad_w = check(x, ct, params(
        2, rhs_dilation=two, padding=((pad, rest),) * 2, lhs_spec=swap(lhs_spec), rhs_spec=swap(out_spec), out_spec=swap(rhs_spec),
    ))  # fmt: skip
    assert grad_w.shape == w.shape
    return [y, grad_x, grad_w]


PASSES = [
    ((2, 1, 9, 9), 32, 3), ((4, 10, 12, 12), 20, 5), ((2, 64, 20, 20), 64, 3), ((3, 32, 26, 26), 48, 3), ((2, 96, 10, 10), 32, 3, 1, 1),
    ((2, 16, 15, 15), 24, 3, 2, 1), ((1, 3, 21, 21), 16, 7, 2, 3), ((2, 40, 8, 8), 72, 1), ((2, 8, 9, 9), 16, 3, 1, 1, NCHW),
    ((2, 9, 32, 32), 20, 3, 1, 1, NCHW), ((3, 24, 13, 13), 7, 1, 1, 0, NCHW), ((2, 3, 47, 47), 5, 5, 1, 2, NCHW), ((2, 6, 40, 40), 9, 3, 2, 1, NCHW),
    ((3, 40, 15, 15), 24, 1, 2), ((2, 24, 16, 16), 40, 1, 3), ((2, 9, 16, 16), 20, 1, 2, 0, NCHW),
]  # fmt: skip


@pytest.mark.parametrize("case", PASSES, ids=str)
def test_forward_and_both_gradients(case: tuple) -> None:
    three_passes(*case)


@pytest.mark.skipif(jax is None, reason="JAX is not installed")
def test_gradients_are_jax_gradients() -> None:
    shape, features, k, stride, pad = (2, 6, 11, 11), 8, 3, 2, 1
    x = random_array((2, 11, 11, 6), "float32")
    w = random_array((3, 3, 6, 8), "float32", 1)

    def forward(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), ((pad, pad),) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    y, back = jax.vjp(forward, x, w)
    found = three_passes(shape, features, k, stride, pad)
    for mine, theirs in zip(found, (y, *back(random_array(y.shape, "float32", 2)))):
        np.testing.assert_allclose(mine, np.asarray(theirs), rtol=1e-4, atol=1e-4)


def test_depthwise_and_its_weight_gradient() -> None:
    for c, multiplier in ((16, 1), (19, 1), (40, 1), (24, 2)):
        x, w = random_array((2, 9, 8, c), "float32"), random_array((3, 3, 1, c * multiplier), "float32", 1)
        y = check(x, w, params(2, **NHWC, feature_group_count=c, padding=((1, 1), (1, 1))))
        spec = (3, 0, 1, 2)
        check(
            x,
            y,
            params(
                2, lhs_spec=spec, rhs_spec=spec, out_spec=(2, 3, 0, 1), batch_group_count=c, padding=((1, 1), (1, 1))
            ),
        )


@pytest.mark.parametrize(("ty", "kernel"), [(f32, 3), (f32, 5), (f32, 7), (f64, 3), (f64, 5)], ids=str)
def test_sums_of_depthwise_weights_stay_in_registers(ty: Ty, kernel: int) -> None:
    p = params(
        2, lhs_spec=(3, 0, 1, 2), rhs_spec=(3, 0, 1, 2), out_spec=(2, 3, 0, 1), batch_group_count=64, padding=((kernel // 2,) * 2,) * 2
    )  # fmt: skip
    dtype = {f32: "float32", f64: "float64"}[ty]
    x = random_array((2, 12, 12, 64), dtype)
    target = x86("avx2")
    steps = prepare("conv_general_dilated", [x, x], p, [((kernel, kernel, 1, 64), dtype)], target)[0].steps
    text = assembly([steps[0].kernel.kernel], target)
    assert "vfmadd" in text and not re.search(r"ymm.*\(%rsp\)|\(%rsp\).*ymm", text)


DEPTHWISE = [  # image, channels, window, strides, window dilation, padding, image dilation
    ((9, 8), 16, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((6, 30), 40, (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((11, 23), 19, (5, 5), (1, 1), (1, 1), ((2, 2), (4, 0)), (1, 1)),
    ((10, 31), 70, (3, 3), (2, 2), (1, 1), ((1, 1), (0, 1)), (1, 1)),
    ((12, 26), 33, (2, 3), (1, 1), (2, 3), ((3, 2), (-1, 5)), (1, 1)),
    ((5, 13), 64, (3, 4), (1, 1), (1, 1), ((2, 3), (2, 2)), (2, 3)),  # of a strided one with respect to the image
    ((7, 9), 17, (1, 1), (1, 1), (1, 1), ((0, 1), (1, 0)), (2, 2)),  # outputs that meet no tap
    ((6, 9), 18, (2, 3), (3, 2), (1, 1), ((1, 2), (2, 1)), (2, 4)),  # with gaps, in steps
    ((3, 2), 16, (3, 3), (1, 1), (1, 1), ((4, 4), (5, 3)), (1, 1)),  # and no image
    ((40,), 24, (7,), (3,), (1,), ((3, 3),), (1,)),
]


@pytest.mark.parametrize(("case", "dtype", "level"), on_machines(DEPTHWISE, ("float64", "int32"), LEVELS), ids=str)
def test_depthwise_leaves_out_what_lies_outside(case: tuple, dtype: str, level: str | None) -> None:
    """Forward, with the weights as they are and with channels that lie apart, and the gradient with respect to the weights."""
    image, c, window, strides, dilation, padding, holes = case
    target, n = None if level is None else host().restricted(level), len(image)
    last = (0, n + 1, *range(1, n + 1))
    p = params(
        n, lhs_spec=last, out_spec=last, rhs_spec=(n + 1, n, *range(n)), window_strides=strides, rhs_dilation=dilation,
        padding=padding, lhs_dilation=holes, feature_group_count=c,
    )  # fmt: skip
    x, w = random_array((2, *image, c), dtype), random_array((*window, 1, c), dtype, 1)
    y = check(x, w, p, target)
    apart = {**p, "rhs_spec": (0, 1, *range(2, n + 2))}
    np.testing.assert_array_equal(check(x, np.moveaxis(w, (-1, -2), (0, 1)).copy(), apart, target), y)
    check(x, w[tuple(slice(None, None, -1) for _ in window)], p, target)
    turned = (n + 1, 0, *range(1, n + 1))
    back = {
        **p, "lhs_spec": turned, "rhs_spec": turned, "out_spec": (n, n + 1, *range(n)), "window_strides": dilation, "rhs_dilation": strides,
        "feature_group_count": 1, "batch_group_count": c,
    }  # fmt: skip
    check(x, y, back, target)
    steps = [prepare("conv_general_dilated", a, q, [(result_shape(*a, q), dtype)], target)[0].steps
             for a, q in (([x, w], p), ([x, y], back))]  # fmt: skip
    assert {s.name for s in steps[0]} == {"conv (depthwise)"}
    assert (steps[1][0].name == "conv (depthwise weights)") == (holes == (1,) * n)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bfloat16", "complex64"])
def test_channels_first_keeps_its_pixels_together(dtype: str) -> None:
    """Rows and columns change places: products over planes, depthwise ones with and without a multiplier, dilated windows."""
    for c, features, groups, (h, w), k, dilation in (
        (5, 7, 1, (6, 33), 3, 1), (4, 3, 1, (5, 64), 2, 3), (16, 16, 16, (7, 35), 3, 1), (19, 38, 19, (4, 41), 3, 2), (18, 9, 1, (11, 13), 1, 1),
    ):  # fmt: skip
        x, y = random_array((2, c, h, w), dtype), random_array((features, c // groups, k, k), dtype, 1)
        check(
            x, y, params(2, **NCHW, feature_group_count=groups, rhs_dilation=(dilation,) * 2, padding=((1, k), (k, 1)))
        )
    x, y = random_array((3, 6, 50), dtype), random_array((4, 6, 5), dtype, 1)
    check(x, y, params(1, padding=((2, 2),)))


@pytest.mark.parametrize(
    ("dtype", "level"),
    [
        *(("float32", level) for level in LEVELS),
        ("float64", None),
        ("float64", "sse2"),
        ("int32", None),
        ("int32", "avx2"),
    ],
)
def test_few_outputs_are_added_up_along_the_channels(dtype: str, level: str | None) -> None:
    target = None if level is None else host().restricted(level)
    for c, features, k in ((64, 1, 3), (61, 3, 3), (40, 2, 1), (33, 5, 2), (20, 10, 5)):
        x, w = random_array((2, 7, 9, c), dtype), random_array((k, k, c, features), dtype, 1)
        check(x, w, params(2, **NHWC, padding=((1, 1), (0, 2))), target)
        check(x, w, params(2, **NHWC, window_strides=(2, 1), rhs_dilation=(1, 2)), target)


@pytest.mark.parametrize("level", [None, "sse2", "avx2"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_small_groups_of_channels_are_lanes_of_vectors(dtype: str, level: str | None) -> None:
    """Forward and the gradient with respect to the weights; what is no number in one group stays in it."""
    target = host() if level is None else host().restricted(level)
    names = set()

    def ran(x: np.ndarray, w: np.ndarray, p: dict[str, Any]) -> np.ndarray:
        steps = prepare("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), x.dtype)], target)[0].steps
        names.update(
            s.kernel.kernel.name.partition("_")[0] for s in steps if "copy" not in s.name and "store" not in s.name
        )
        return check(x, w, p, target)

    for c, group, k in ((32, 4, 3), (36, 2, 3), (24, 4, 1), (40, 8, 3)):
        if (lanes := target.lanes(ty_of(np.dtype(dtype)))) % group:
            continue
        x, w = random_array((2, 6, 9, c), dtype), random_array((k, k, group, c), dtype, 1)
        for more in (
            {},
            {"window_strides": (2, 2), "padding": ((1, 1), (0, 2))},
            {"padding": ((1, 1), (1, 1)), "rhs_dilation": (1, 2)},
        ):
            p = params(2, **NHWC, feature_group_count=c // group, **more)
            y = ran(x, w, p)
            ct = random_array(y.shape, dtype, 2)
            weights = {
                "lhs_spec": (3, 0, 1, 2),
                "rhs_spec": (3, 0, 1, 2),
                "out_spec": (2, 3, 0, 1),
                "batch_group_count": c // group,
            }
            stride, dilation = p["window_strides"], p["rhs_dilation"]
            ran(x, ct, params(2, **weights, padding=p["padding"], window_strides=dilation, rhs_dilation=stride))
        if np.dtype(dtype).kind == "f" and c >= lanes:
            x[0, 2, 3, 0] = np.nan
            p = params(2, **NHWC, feature_group_count=c // group)
            (y,) = lower("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), x.dtype)], target)
            assert np.isnan(y[..., :group]).any() and not np.isnan(y[..., group:]).any()
    assert names == {"depthwise"}


@pytest.mark.parametrize("level", [None, "sse2", "avx2", "scalar"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_few_values_of_k_stay_in_registers(dtype: str, level: str | None) -> None:
    """Windows over few channels: columns that fill vectors, that share the last ones, and fewer than a vector has."""
    target = host() if level is None else host().restricted(level)
    kernels = set()
    for c, features, window in (
        (1, 32, (3, 3)),
        (1, 10, (5, 5)),
        (2, 19, (2, 2)),
        (1, 70, (1, 3)),
        (3, 16, (2, 1)),
        (1, 3, (3, 3)),
    ):
        x, w = random_array((2, 9, 12, c), dtype), random_array((*window, c, features), dtype, 1)
        for more in ({}, {"window_strides": (1, 2), "padding": ((1, 0), (2, 1)), "rhs_dilation": (2, 1)}):
            p = params(2, **NHWC, **more)
            check(x, w, p, target)
            check(x[::-1, :, ::-1], w, p, target)
            steps = prepare("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), x.dtype)], target)[0].steps
            kernels |= {s.kernel.kernel.name.partition("_")[0] for s in steps}
    assert "pixels" in kernels


def test_empty_operands() -> None:
    for x_shape, w_shape in (
        ((0, 5, 5, 3), (3, 3, 3, 4)),
        ((2, 5, 5, 0), (3, 3, 0, 4)),
        ((2, 5, 5, 3), (3, 3, 3, 0)),
        ((2, 2, 5, 3), (3, 3, 3, 4)),
    ):
        check(random_array(x_shape, "float32"), random_array(w_shape, "float32"), params(2, **NHWC))
    check(
        random_array((2, 0, 5, 3), "float32"),
        random_array((3, 3, 3, 4), "float32"),
        params(2, **NHWC, padding=((2, 2), (0, 0))),
    )


def test_outputs_that_see_nothing_take_no_loops() -> None:
    """Three of four pixels of the gradient of a 1x1 convolution with stride 2."""
    x, w = random_array((2, 8, 8, 64), "float32"), random_array((1, 1, 64, 32), "float32", 1)
    p = params(2, **NHWC, lhs_dilation=(2, 2), padding=((0, 1), (0, 1)))
    steps = prepare("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), "float32")])[0].steps
    frames = [dict(zip((q.name for q in s.kernel.kernel.params), s.args)) for s in steps if s.name == "conv"]
    loops = [[n for name, n in f.items() if name in ("k0", "k1", "k2", "k3")] for f in frames]
    assert sorted(max(ks) for ks in loops if 0 in ks) == [1, 1, 1]


def test_positions_between_are_not_copied_where_k_goes_over_pixels() -> None:
    x = random_array((2, 15, 15, 40), "float32")
    x[:, 1::2] = x[:, :, 1::2] = np.nan
    ct = random_array((2, 8, 8, 24), "float32", 1)
    p = params(2, rhs_dilation=(2, 2), lhs_spec=(3, 0, 1, 2), rhs_spec=(3, 0, 1, 2), out_spec=(2, 3, 0, 1))
    steps = prepare("conv_general_dilated", [x, ct], p, [(result_shape(x, ct, p), "float32")])[0].steps
    (pad,) = (s for s in steps if s.name == "conv (pad)")
    assert pad.total == 2 * 8  # lines
    check(x, ct, p)


def test_long_products_over_pixels() -> None:
    """The weights' gradient on images too large for the cache: slices of k, copied slabs, blocks of channels."""
    cases = ((2, 64, 40, 40), 32, 3), ((2, 128, 24, 24), 40, 3), ((5, 20, 64, 64), 16, 5), ((3, 20, 41, 40), 150, 1)
    for shape, features, k in cases:
        x = random_array((shape[0], *shape[2:], shape[1]), "float32")
        y = random_array((shape[0], shape[2] - k + 1, shape[3] - k + 1, features), "float32", 1)
        check(x, y, params(2, lhs_spec=(3, 0, 1, 2), rhs_spec=(3, 0, 1, 2), out_spec=(2, 3, 0, 1)))


def test_slices_ask_for_what_the_next_one_reads() -> None:
    """All of it, in the rounds of the rows of their panels; and partial sums are few where they are large."""
    x, ct = np.zeros((8, 56, 56, 64), "float32"), np.zeros((8, 56, 56, 64), "float32")
    p = params(2, padding=((1, 1), (1, 1)), lhs_spec=(3, 0, 1, 2), rhs_spec=(3, 0, 1, 2), out_spec=(2, 3, 0, 1))
    steps = prepare("conv_general_dilated", [x, ct], p, [((3, 3, 64, 64), "float32")])[0].steps
    (step,) = (s for s in steps if s.name == "conv")
    f = dict(zip((q.name for q in step.kernel.kernel.params), step.args))
    rounds = f["piece_rows"] * f["group"] * f["k_slice"]
    assert f["ahead_a"] * rounds >= f["slab_length"] + f["k_slice"] * f["slab_step"]
    assert f["ahead_b"] * rounds >= f["k_slice"] * 56 * 64
    assert (f["parts"], f["part_slices"]) == (16, 2)
    small = prepare("conv_general_dilated", [x[:, :8, :8], ct[:, :8, :8]], p, [((3, 3, 64, 64), "float32")])[0].steps
    frames = [dict(zip((q.name for q in s.kernel.kernel.params), s.args)) for s in small]
    assert not any(f.get("ahead_a", 0) or f.get("ahead_b", 0) for f in frames)  # the caches hold it all


@pytest.mark.parametrize(
    ("shape", "features", "window", "changes"),
    [
        ((2, 30, 31, 24), 32, (3, 3), {"padding": ((1, 1), (2, 0))}),
        (
            (2, 30, 31, 24),
            16,
            (4, 4),
            {"padding": ((2, 3), (1, 2)), "rhs_dilation": (2, 3)},
        ),  # of a strided convolution
        ((3, 20, 21, 96), 20, (3, 2), {"padding": ((1, 1), (1, 0))}),  # blocks of channels
        ((3, 90, 20), 24, (5,), {"padding": ((4, 4),), "window_strides": (2,)}),  # of a dilated one
    ],
)
def test_gradients_of_weights_make_no_padded_image(
    shape: tuple[int, ...], features: int, window: tuple[int, ...], changes: dict[str, Any]
) -> None:
    """Slabs of it are copied, with their margins, from where its pixels lie."""
    n = len(window)
    x = random_array(shape, "float32")
    p = params(n, **changes, lhs_spec=(n + 1, 0, *range(1, n + 1)), rhs_spec=(n + 1, 0, *range(1, n + 1)),
               out_spec=(n, n + 1, *range(n)))  # fmt: skip
    reach = [
        sum(lo_hi) + size - step * (k - 1)
        for size, k, lo_hi, step in zip(shape[1:-1], window, p["padding"], p["window_strides"])
    ]
    sizes = [-(-r // d) for r, d in zip(reach, p["rhs_dilation"])]
    y = random_array((shape[0], *sizes, features), "float32", 1)
    steps = prepare("conv_general_dilated", [x, y], p, [(result_shape(x, y, p), "float32")])[0].steps
    assert "conv" in {s.name for s in steps} and "conv (pad)" not in {s.name for s in steps}
    check(x, y, p)


def test_sizes_are_no_part_of_a_kernel() -> None:
    def keys(n: int, h: int) -> list[Any]:
        x, w = random_array((n, h, h, 16), "float32"), random_array((3, 3, 16, 32), "float32", 1)
        p = params(2, **NHWC, padding=((1, 1), (1, 1)))
        return [
            s.kernel.key
            for s in prepare("conv_general_dilated", [x, w], p, [(result_shape(x, w, p), "float32")])[0].steps
        ]

    assert keys(2, 12) == keys(3, 17)  # few outputs: the weights stay where they are
    assert keys(5, 17) == keys(7, 30)
