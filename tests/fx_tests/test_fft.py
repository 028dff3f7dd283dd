"""fx.numpy.fft and fx.lax.fft beside numpy.fft and JAX; derivatives of all four transforms, and compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
import jit
from fx.errors import AxisError, DTypeError, ShapeError
from fx.lax import FftType
from fx.passes import inline
from fx.trace import trace_flat

F = fnp.fft
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 8))
Z = X + 1j * RNG.normal(size=(3, 8))
BOX = RNG.normal(size=(4, 5, 6)) + 1j * RNG.normal(size=(4, 5, 6))


def near(got: Any, want: Any, tolerance: float = 1e-13) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype, (got.dtype, want.dtype, got.shape, want.shape)
    assert np.abs(got - want).max(initial=0.0) <= tolerance * np.abs(want).max(initial=1.0)


CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((name, (Z,), {"n": n}) for name in ("fft", "ifft", "irfft", "hfft") for n in (None, 1, 2, 5, 8, 13)),
    *((name, (X,), {"n": n}) for name in ("fft", "ifft", "rfft", "irfft", "ihfft", "hfft") for n in (None, 1, 4, 7, 11)),
    *((name, (BOX,), {"axis": axis}) for name in ("fft", "ifft", "irfft") for axis in (0, 1, -1)),
    *((name, (Z,), {"norm": norm}) for name in ("fft", "ifft", "irfft", "hfft") for norm in ("backward", "ortho", "forward")),
    *((name, (X,), {"norm": norm, "n": 5}) for name in ("rfft", "ihfft") for norm in ("backward", "ortho", "forward")),
    *((name, (BOX,), kw) for name in ("fftn", "ifftn", "irfftn", "fft2", "ifft2", "irfft2") for kw in ({}, {"norm": "ortho"})),
    *((name, (BOX,), {"s": (3, 7), "axes": (0, 2), "norm": "forward"}) for name in ("fftn", "ifftn", "irfftn", "fft2")),
    *((name, (BOX.real,), {"s": (3, 7), "axes": (2, 1)}) for name in ("rfftn", "rfft2", "fftn")),
    *((name, (BOX.real,), {"norm": norm}) for name in ("rfftn", "rfft2") for norm in (None, "ortho", "forward")),
    ("fftn", (BOX,), {"axes": (0, 0)}), ("fft", (np.zeros((0, 4)),), {}), ("rfft", (np.zeros((0, 4)),), {"axis": 1}),
    ("fft", (Z.astype(np.complex64),), {}), ("rfft", (X.astype(np.float32),), {}), ("irfft", (Z.astype(np.complex64),), {}),
    *((name, (x,), kw) for name in ("fftshift", "ifftshift") for x, kw in ((X, {}), (BOX, {"axes": (0, 1)}), (BOX[0], {"axes": 0}))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs"), CASES, ids=[f"{n}{k}" for n, _, k in CASES])
def test_as_numpy(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    want = getattr(np.fft, name)(*args, **kwargs)
    single = np.asarray(args[0]).dtype.itemsize <= 8 and args[0].dtype.kind == "c" or args[0].dtype == np.float32
    near(getattr(F, name)(*args, **kwargs), want, 1e-6 if single else 1e-13)


def test_frequencies() -> None:
    for n in (1, 4, 5):
        for d in (1.0, 0.25):
            near(F.fftfreq(n, d, dtype=np.float64), np.fft.fftfreq(n, d))
            near(F.rfftfreq(n, d, dtype=np.float64), np.fft.rfftfreq(n, d))
    assert F.fftfreq(4).dtype == np.float32
    near(fx.grad(lambda d: F.rfftfreq(4, d, dtype=np.float64)[1])(np.float64(2.0)), np.float64(-1 / 16))


def test_numpys_own_functions_are_traced() -> None:
    near(fx.jit(lambda x: np.fft.fft(x))(Z), np.fft.fft(Z))
    near(
        fx.grad(lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2))(X[0]),
        fx.grad(lambda x: fnp.sum(abs(F.rfft(x)) ** 2))(X[0]),
    )
    near(np.fft.fftshift(fnp.asarray(X)), np.fft.fftshift(X))


def test_dtypes() -> None:
    assert F.fft(np.arange(4, dtype=np.int32)).dtype == np.complex64 and F.rfft(np.arange(4)).dtype == np.complex128
    assert F.ihfft(X.astype(np.float32)).dtype == np.complex64 and F.hfft(Z.astype(np.complex64)).dtype == np.float32
    for f in (F.fft, F.rfft):
        with pytest.raises(DTypeError, match="float16"):
            f(X.astype(np.float16))


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.fft(X, 0), ShapeError, "at least one point"),
    (lambda: F.fft(np.zeros((2, 0))), ShapeError, "at least one point"),
    (lambda: F.irfft(X[:, :1]), ShapeError, "at least one point"),
    (lambda: F.fft(X, norm="half"), ValueError, "norm is None"),
    (lambda: F.rfft(Z), ValueError, "takes real numbers"),
    (lambda: F.fft(X, axis=2), AxisError, "out of range"),
    (lambda: F.fft2(X, axes=(0,)), ValueError, "two axes"),
    (lambda: F.fftn(X, s=(2,), axes=(0, 1)), ShapeError, "must be as many"),
    (lambda: F.fftn(X, s=(2, 2, 2)), ShapeError, "3 sizes for an array"),
    (lambda: F.rfftn(np.float64(1.0)), AxisError, "at least one axis"),
    (lambda: F.fftfreq(0), ValueError, "n must be positive"),
    (lambda: F.rfftfreq(0), ValueError, "n must be positive"),
    (lambda: fx.lax.fft(Z, "FFT", (7,)), ShapeError, "needs 7 numbers along axis 1"),
    (lambda: fx.lax.fft(Z, "IRFFT", (8,)), ShapeError, "needs 5 numbers"),
    (lambda: fx.lax.fft(Z, "RFFT", (8,)), DTypeError, "rfft takes float32 or float64"),
    (lambda: fx.lax.fft(Z, "FFT", (3, 8, 1)), AxisError, "more than the operand"),
]  # fmt: skip


@pytest.mark.parametrize(("f", "kind", "words"), ERRORS, ids=[w for _, _, w in ERRORS])
def test_errors(f: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        f()


def test_lax_fft_as_jax() -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        for kind, x, lengths in (
            (FftType.FFT, BOX, (6,)), ("IFFT", BOX, (5, 6)), (FftType.RFFT, BOX.real, (4, 5, 6)),
            (FftType.IRFFT, BOX, (5, 10)), ("irfft", BOX, (11,)), (FftType.FFT, BOX, ()),
        ):  # fmt: skip
            name = kind.name if isinstance(kind, FftType) else kind.upper()
            near(fx.lax.fft(x, kind, lengths), np.asarray(jax.lax.fft(x, name, lengths)), 1e-12)
    assert [t.name for t in FftType] == [t.name for t in jax.lax.FftType]


# ---------------------------------------------------------------------------------------- derivatives

LINEAR: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "fft": (F.fft, Z), "ifft": (F.ifft, Z), "hfft": (F.hfft, Z), "fftn": (F.fftn, BOX), "irfftn": (F.irfftn, BOX),
    **{f"rfft {n}": (lambda x, n=n: F.rfft(x, n), X) for n in (1, 2, 7, 8, 9)},
    **{f"irfft {n}": (lambda x, n=n: F.irfft(x, n), Z) for n in (1, 2, 7, 8, 14)},
    "ihfft": (F.ihfft, X), "rfft along 0": (lambda x: F.rfft(x, axis=0, norm="ortho"), X),
    "cut and shifted": (lambda x: F.fftshift(F.fft(x, 5), axes=1), Z),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
def test_derivatives(name: str) -> None:
    """They are linear: the tangent is f(v), and <f(v), w> = <v, f^T w> without conjugation."""
    f, x = LINEAR[name]
    v = RNG.normal(size=x.shape) + (1j * RNG.normal(size=x.shape) if x.dtype.kind == "c" else 0)
    out, tangent = fx.jvp(f, (x,), (v,))
    near(out, f(x))
    near(tangent, f(v))
    w = (
        np.asarray(RNG.normal(size=out.shape) + 1j * RNG.normal(size=out.shape), out.dtype)
        if np.iscomplexobj(out)
        else RNG.normal(size=out.shape)
    )
    (ct,) = fx.vjp(f, x)[1](w)
    (again,) = fx.linear_transpose(f, x)(w)
    near(ct, again)
    assert ct.dtype == x.dtype and ct.shape == x.shape
    left, right = np.sum(np.asarray(tangent) * w).real, np.sum(np.asarray(ct) * v).real
    assert abs(left - right) < 1e-11 * max(1, abs(left))


def test_gradients_as_jax() -> None:
    jax = pytest.importorskip("jax")

    def loss(m: Any, x: Any) -> Any:
        spectrum = m.fft.rfft(x, 9) * m.arange(5)
        return m.sum(m.fft.irfft(spectrum, 7) ** 3) + m.sum(m.real(m.fft.fft(x) ** 2))

    with jax.enable_x64(True):
        want = np.asarray(jax.jit(jax.grad(lambda x: loss(jax.numpy, x)))(X))
    near(fx.grad(lambda x: loss(fnp, x))(X), want, 1e-12)
    near(fx.jit(fx.grad(lambda x: loss(fnp, x)))(X), want, 1e-12)


def test_vmap_is_the_loop() -> None:
    for f, x in ((F.fft, BOX), (F.irfft, BOX), (F.fft2, BOX)):
        for axis in (0, 1, 2):
            want = np.stack([np.asarray(f(np.take(x, i, axis))) for i in range(x.shape[axis])])
            near(fx.vmap(f, in_axes=axis)(x), want)
            near(fx.jit(fx.vmap(f, in_axes=axis))(x), want)


# ------------------------------------------------------------------------------------------- compiled


def compiled(f: Callable[..., Any], x: np.ndarray, **options: Any) -> jit.Executable:
    graph, _ = trace_flat(lambda a: fx.tree.leaves(f(a)), [fx.ir.Aval(x.shape, x.dtype)], kind="jit")
    return jit.compile(inline(graph), jit.Options(verify=True, **options))


def test_numpys_loops_run_without_python() -> None:
    for f, x, name in ((F.fft, Z, "fft"), (F.ifft, Z, "ifft"), (F.rfft, X, "rfft_n_even"), (F.irfft, Z, "irfft")):
        run = compiled(f, x)
        assert run.cost_analysis()["callbacks"] == 0 and f"{name} of NumPy's pocketfft" in run.explain()
        assert run(x)[0].tobytes() == np.asarray(f(x)).tobytes()
    odd = compiled(F.rfft, X[:, :7])
    assert "rfft_n_odd" in odd.explain()
    near(odd(X[:, :7])[0], np.fft.rfft(X[:, :7]))


def test_any_strides_and_any_axis() -> None:
    def program(x: Any) -> Any:
        views = [fnp.swapaxes(x, 0, 2), x[:, ::-1], x[::2, :, ::-1], fnp.broadcast_to(x[0], x.shape)]
        return [F.fft(v, axis=a) for v in views for a in (0, 1, 2)]

    for got, want in zip(compiled(program, BOX)(BOX), program(BOX), strict=True):
        near(got, want)


def test_the_same_bits_on_any_number_of_threads() -> None:
    x = RNG.normal(size=(200, 97)) + 0j
    found = [compiled(lambda x: [F.fft(x), F.ifft(x, axis=0)], x, num_threads=n)(x) for n in (1, 2, 3)]
    assert len({b"".join(o.tobytes() for o in outs) for outs in found}) == 1


def test_the_numba_engine_calls_the_same_loops() -> None:
    near(compiled(F.fft, Z, engine="numba")(Z)[0], np.fft.fft(Z))


def test_without_the_loops_the_reference_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jit.lower.fft.loop", lambda name, dtype: None)
    run = compiled(F.fft, Z)
    assert run.cost_analysis()["callbacks"] == 1 and "the loops of numpy.fft were not found" in run.explain()
    near(run(Z)[0], np.fft.fft(Z))


@pytest.mark.parametrize(
    ("shape", "cut"),
    [
        ((32, 32), False),
        ((4, 16), False),
        ((1, 8192), False),
        ((64, 64), True),
        ((1024, 256), True),
        ((1, 65536), True),
    ],
)
def test_small_transforms_are_not_cut_for_threads(shape: tuple[int, int], cut: bool) -> None:
    """A pass of a few microseconds is shorter than it takes another thread to join in; the transforms are the same either way."""
    x = np.exp(1j * np.arange(np.prod(shape)) ** 1.1).astype(np.complex64).reshape(shape)
    compiled = fx.jit(fnp.fft.fft).lower(x).compile()
    step = max(compiled.executable.program.steps, key=lambda step: step.flops)
    assert (step.total > step.chunk) == cut
    np.testing.assert_allclose(compiled(x), np.fft.fft(x), rtol=2e-4, atol=2e-4 * np.sqrt(shape[-1]))
