"""Losses against PyTorch and optax: values, gradients, reductions, dtypes; and what wrong operands say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from narrowing import narrow_steps

import fx
import fx.numpy as fnp
from fx import nn
from fx.errors import DTypeError, LabelError, ShapeError

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
F = torch.nn.functional

RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


X, Y, Z = draw(6, 5), draw(6, 5), draw(6, 5)
LABELS = np.array([0, 4, 2, 2, 1, 3])
SOME = np.array([0, 4, -100, 2, -100, 3])
SOFT = RNG.dirichlet(np.ones(5), 6)
BITS = RNG.integers(0, 2, (6, 5)).astype(np.float64)
SIGNS = np.sign(draw(6))
CLASS = RNG.uniform(0.5, 2.0, 5)
COUNTS = RNG.poisson(2.0, (6, 5)).astype(np.float64)
LONG = torch.tensor(LABELS)

# name -> (ours, PyTorch's, operands that are differentiated)
CASES: dict[str, tuple[Any, Any, tuple[np.ndarray, ...]]] = {
    "mse": (nn.mse, F.mse_loss, (X, Y)),
    "mae": (nn.mae, F.l1_loss, (X, Y)),
    "huber": (lambda x, y, **k: nn.huber(x, y, delta=0.7, **k), lambda x, y, **k: F.huber_loss(x, y, delta=0.7, **k), (X, Y)),
    "smooth_l1": (
        lambda x, y, **k: nn.huber(x, y, delta=0.5, **k) / 0.5, lambda x, y, **k: F.smooth_l1_loss(x, y, beta=0.5, **k), (X, Y),
    ),
    "bce": (
        lambda x, **k: nn.bce_with_logits(x, BITS, **k), lambda x, **k: F.binary_cross_entropy_with_logits(x, torch.tensor(BITS), **k), (30 * X,),
    ),
    "bce pos_weight": (
        lambda x, **k: nn.bce_with_logits(x, SOFT, pos_weight=CLASS, **k),
        lambda x, **k: F.binary_cross_entropy_with_logits(x, torch.tensor(SOFT), pos_weight=torch.tensor(CLASS), **k), (X,),
    ),
    "cross_entropy": (lambda x, **k: nn.cross_entropy(x, LABELS, **k), lambda x, **k: F.cross_entropy(x, LONG, **k), (50 * X,)),
    "cross_entropy smoothing": (
        lambda x, **k: nn.cross_entropy(x, LABELS, label_smoothing=0.1, **k), lambda x, **k: F.cross_entropy(x, LONG, label_smoothing=0.1, **k), (X,),
    ),
    "cross_entropy all": (
        lambda x, **k: nn.cross_entropy(x, SOME, label_smoothing=0.1, class_weights=CLASS, ignore_index=-100, **k),
        lambda x, **k: F.cross_entropy(x, torch.tensor(SOME), label_smoothing=0.1, weight=torch.tensor(CLASS), **k), (X,),
    ),
    "cross_entropy ignored": (
        lambda x, **k: nn.cross_entropy(x, SOME, ignore_index=-100, **k), lambda x, **k: F.cross_entropy(x, torch.tensor(SOME), **k), (X,),
    ),
    "cross_entropy soft": (
        lambda x, **k: nn.cross_entropy(x, SOFT, label_smoothing=0.2, class_weights=CLASS, **k),
        lambda x, **k: F.cross_entropy(x, torch.tensor(SOFT), label_smoothing=0.2, weight=torch.tensor(CLASS), **k), (X,),
    ),
    "cross_entropy axis": (
        lambda x, **k: nn.cross_entropy(x.reshape(2, 5, 3), LABELS.reshape(2, 3), axis=1, **k),
        lambda x, **k: F.cross_entropy(x.reshape(2, 5, 3), LONG.reshape(2, 3), **k), (X,),
    ),
    "multiclass_hinge": (
        lambda x, **k: nn.multiclass_hinge(x, LABELS, **k), lambda x, **k: F.multi_margin_loss(x, LONG, **k), (X,),
    ),
    "cosine": (
        lambda x, y, **k: nn.cosine(x, y, SIGNS, margin=0.1, **k),
        lambda x, y, **k: F.cosine_embedding_loss(x, y, torch.tensor(SIGNS), margin=0.1, **k), (X, Y),
    ),
    "hinge_embedding": (
        lambda x, **k: nn.hinge_embedding(x, 2 * BITS - 1, margin=0.8, **k),
        lambda x, **k: F.hinge_embedding_loss(x, torch.tensor(2 * BITS - 1), margin=0.8, **k), (X,),
    ),
    "margin_ranking": (
        lambda x, y, **k: nn.margin_ranking(x, y, 2 * BITS - 1, margin=0.2, **k),
        lambda x, y, **k: F.margin_ranking_loss(x, y, torch.tensor(2 * BITS - 1), margin=0.2, **k), (X, Y),
    ),
    "gaussian_nll": (
        lambda x, y, v, **k: nn.gaussian_nll(x, y, v, full=True, epsilon=0.6, **k),
        lambda x, y, v, **k: F.gaussian_nll_loss(x, y, v, full=True, eps=0.6, **k), (X, Y, CLASS * np.ones((6, 1))),
    ),
    "gaussian_nll of one variance a row": (nn.gaussian_nll, F.gaussian_nll_loss, (X, Y, np.abs(Z[:, :1]))),
    "poisson_nll": (
        lambda x, **k: nn.poisson_nll(x, COUNTS, full=True, **k), lambda x, **k: F.poisson_nll_loss(x, torch.tensor(COUNTS), full=True, **k), (X,),
    ),
    "poisson_nll of rates": (
        lambda x, **k: nn.poisson_nll(x, COUNTS, log_input=False, **k),
        lambda x, **k: F.poisson_nll_loss(x, torch.tensor(COUNTS), log_input=False, **k), (np.abs(X),),
    ),
    "triplet": (nn.triplet, F.triplet_margin_loss, (X, Y, Z)),
    "triplet of the greatest element": (
        lambda *x, **k: nn.triplet(*x, p=np.inf, **k), lambda *x, **k: F.triplet_margin_loss(*x, p=float("inf"), **k), (X, Y, Z),
    ),
    "triplet swap": (
        lambda *x, **k: nn.triplet(*x, margin=2.0, p=3.0, swap=True, **k),
        lambda *x, **k: F.triplet_margin_loss(*x, margin=2.0, p=3.0, swap=True, **k), (X, Y, Z),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorch_s(name: str) -> None:
    ours, theirs, operands = CASES[name]
    for reduction in ("mean", "sum", "none"):
        tensors = [torch.tensor(x, requires_grad=True) for x in operands]
        want = theirs(*tensors, reduction=reduction)
        got = ours(*operands, reduction=reduction)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want.detach(), rtol=1e-6, atol=1e-9, err_msg=reduction)
        if reduction == "mean":
            want.backward()
            value, grads = fx.jit(fx.value_and_grad(ours, tuple(range(len(operands)))))(*operands)
            np.testing.assert_allclose(value, want.detach(), rtol=1e-6, atol=1e-9)
            for g, t in zip(grads, tensors):
                np.testing.assert_allclose(g, t.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_losses_of_64_bits_compute_in_no_fewer(name: str) -> None:
    ours, _, operands = CASES[name]
    assert narrow_steps(fx.value_and_grad(ours, tuple(range(len(operands)))), *operands) == []


def test_values_are_optax_s() -> None:
    pairs = [
        (nn.log_cosh(X, Y, reduction="none"), optax.log_cosh(X, Y)),
        (nn.hinge(X, 2 * BITS - 1, reduction="none"), optax.hinge_loss(X, 2 * BITS - 1)),
        (
            nn.focal(X, BITS, alpha=0.3, gamma=1.5, reduction="none"),
            optax.sigmoid_focal_loss(X, BITS, alpha=0.3, gamma=1.5),
        ),
        (nn.focal(X, BITS, reduction="none"), optax.sigmoid_focal_loss(X, BITS)),
        (nn.kl_divergence(fnp.log(SOFT[::-1]), SOFT, reduction="none"), optax.kl_divergence(np.log(SOFT[::-1]), SOFT)),
        (
            nn.kl_divergence(fnp.log(SOFT[::-1]), np.log(SOFT), log_targets=True, reduction="none"),
            optax.kl_divergence(np.log(SOFT[::-1]), SOFT),
        ),
        (nn.cosine(X, Y, reduction="none"), optax.cosine_distance(X, Y)),
    ]
    for got, want in pairs:
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


def test_focal_of_classes_is_cross_entropy_where_gamma_is_0() -> None:
    np.testing.assert_allclose(nn.focal(X, LABELS, gamma=0.0), nn.cross_entropy(X, LABELS), rtol=1e-12)
    p = np.exp(X - np.log(np.exp(X).sum(1, keepdims=True)))[np.arange(6), LABELS]
    want = (-((1 - p) ** 2) * np.log(p) * CLASS[LABELS]).mean()
    np.testing.assert_allclose(nn.focal(X, LABELS, alpha=CLASS), want, rtol=1e-10)


CTC = {
    "full": (None, None, np.array([[1, 2, 2], [3, 1, 4], [2, 2, 1], [4, 3, 2]])),
    "lengths": ([8, 7, 5, 6], [3, 0, 2, 1], np.array([[1, 2, 2], [3, 1, 4], [2, 2, 1], [4, 3, 2]])),
    "does not fit": ([8, 2, 3, 8], [3, 3, 2, 3], np.array([[1, 2, 2], [3, 1, 4], [2, 2, 1], [4, 3, 2]])),
}


@pytest.mark.parametrize("name", CTC)
def test_ctc_is_pytorch_s(name: str) -> None:
    times, lengths, labels = CTC[name]
    x = np.random.default_rng(1).normal(size=(4, 8, 5))
    t = torch.tensor(x, requires_grad=True)
    want = F.ctc_loss(
        t.log_softmax(-1).transpose(0, 1), torch.tensor(labels), torch.tensor(times or [8] * 4), torch.tensor(lengths or [3] * 4),
        reduction="none", zero_infinity=False,
    )  # fmt: skip
    arrays = [None if v is None else np.array(v) for v in (times, lengths)]
    f = fx.jit(lambda x: nn.ctc(x, labels, *arrays, reduction="none"))
    np.testing.assert_allclose(f(x), want.detach(), rtol=1e-8)
    finite = torch.isfinite(want)
    want[finite].sum().backward()
    got = fx.grad(lambda x: fnp.sum(fnp.where(finite.numpy(), nn.ctc(x, labels, *arrays, reduction="none"), 0)))(x)
    np.testing.assert_allclose(got, t.grad.nan_to_num(), atol=1e-8)
    assert np.isfinite(np.asarray(got)).all()


def test_weights_of_examples() -> None:
    w = np.array([1.0, 0, 2, 0, 0, 1])
    kept = w > 0
    per_row = nn.cross_entropy(X, LABELS, reduction="none")
    np.testing.assert_allclose(nn.cross_entropy(X, LABELS, weights=w), (per_row * w).sum() / w.sum(), rtol=1e-12)
    np.testing.assert_allclose(nn.mse(X, Y, weights=kept[:, None]), nn.mse(X[kept], Y[kept]), rtol=1e-12)
    both = nn.cross_entropy(X, LABELS, weights=w, class_weights=CLASS)
    c = CLASS[LABELS]
    np.testing.assert_allclose(both, (per_row * w * c).sum() / (w * c).sum(), rtol=1e-12)


def test_what_has_no_weight_may_be_anything() -> None:
    """Of examples (fewer axes) or elements, and not of columns; padding may have labels that are none, and infinite losses."""
    kept = np.array([True, False, True, True, False, True])
    padded, squares = np.where(kept, LABELS, -1), (X[:5], Y[:5])
    bits = np.where(kept[:, None], X > 0, 7.0)
    signs = np.where(kept, np.sign(X[:, 0]), 0)
    cases = [
        (nn.mse, *squares, np.square(X[:5] - Y[:5])[kept[:5]].mean(), kept[:5]),
        (nn.cross_entropy, X, padded, nn.cross_entropy(X[kept], LABELS[kept]), kept),
        (nn.multiclass_hinge, X, padded, nn.multiclass_hinge(X[kept], LABELS[kept]), kept),
        (nn.focal, X, padded, nn.focal(X[kept], LABELS[kept]), kept),
        (nn.bce_with_logits, X, bits, nn.bce_with_logits(X[kept], bits[kept]), kept),
        (nn.hinge, X[:, 1], signs, nn.hinge(X[kept, 1], signs[kept]), kept),
        (nn.mse, np.where(kept[:, None], X, np.inf), Y, nn.mse(X[kept], Y[kept]), kept),
        (nn.bce_with_logits, X, np.where(kept[:, None], bits, np.nan), nn.bce_with_logits(X[kept], bits[kept]), kept),
        (nn.hinge, X[:, 1], np.where(kept, signs, np.nan), nn.hinge(X[kept, 1], signs[kept]), kept),
    ]
    missing = np.where(kept[:, None], Y, np.nan)
    gone, soft = np.where(kept[:, None], X, np.nan), np.where(kept[:, None], SOFT, np.nan)
    cases += [
        (nn.cross_entropy, gone, padded, nn.cross_entropy(X[kept], LABELS[kept]), kept),
        (nn.cross_entropy, gone, SOFT, nn.cross_entropy(X[kept], SOFT[kept]), kept),
        (nn.focal, gone, padded, nn.focal(X[kept], LABELS[kept]), kept),
        (nn.focal, gone, BITS, nn.focal(X[kept], BITS[kept]), kept),
        (nn.kl_divergence, gone, soft, nn.kl_divergence(X[kept], SOFT[kept]), kept),
        (nn.cosine, gone, missing, nn.cosine(X[kept], Y[kept]), kept),
        (lambda x, y, **k: nn.triplet(x, y, Z, **k), gone, missing, nn.triplet(X[kept], Y[kept], Z[kept]), kept),
        (
            nn.ctc,
            gone[:, :, None] * Z[0],
            np.where(padded < 0, 9, 1)[:, None],
            nn.ctc(X[kept, :, None] * Z[0], fnp.ones((4, 1), int)),
            kept,
        ),
    ]
    cases += [(f, X, missing, f(X[kept], Y[kept]), kept) for f in (nn.mse, nn.mae, nn.huber, nn.log_cosh)]
    for loss, x, target, want, weights in cases:
        weights = weights.astype(float)
        for run in (loss, fx.jit(loss)):
            np.testing.assert_allclose(run(x, target, weights=weights), want, rtol=1e-12)
        gradient = np.asarray(fx.jit(fx.grad(lambda x, l=loss, t=target, w=weights: l(x, t, weights=w)))(x))
        np.testing.assert_array_equal(gradient[weights == 0], 0)
        assert np.isfinite(gradient).all()
    of_rows = nn.cross_entropy(
        X.reshape(2, 3, 5), padded.reshape(2, 3), class_weights=CLASS, weights=[0.0, 1], ignore_index=-1
    )
    np.testing.assert_allclose(
        of_rows, nn.cross_entropy(X[3:], padded[3:], class_weights=CLASS, ignore_index=-1), rtol=1e-12
    )
    with pytest.raises(LabelError, match="found -1"):
        nn.cross_entropy(X, padded, weights=np.ones(6))
    with pytest.raises(ShapeError, match=r"of examples have shape \(6,\), of elements \(6, 5\)"):
        nn.mse(X, Y, weights=np.ones(5))


def test_small_floats_are_computed_in_float32_and_large_numbers_do_not_overflow() -> None:
    half = X.astype(np.float16)
    assert nn.cross_entropy(half, LABELS).dtype == np.float32
    assert nn.mse(fnp.asarray(X, "bfloat16"), fnp.asarray(Y, "bfloat16")).dtype == np.float32
    big = np.float32([[1e4, -1e4, 0]])
    for f in (lambda x: nn.cross_entropy(x, np.array([1])), lambda x: nn.bce_with_logits(x, np.float32([[0, 1, 1]]))):
        value, slope = fx.value_and_grad(f)(big)
        assert np.isfinite(value) and np.isfinite(np.asarray(slope)).all()
    zero = fx.grad(lambda x: nn.cosine(x, np.ones((1, 3))))(np.zeros((1, 3)))
    assert np.isfinite(np.asarray(zero)).all()


def test_a_batch_of_nothing() -> None:
    none = nn.cross_entropy(np.zeros((0, 3)), np.zeros(0, int), reduction="none")
    assert none.shape == (0,) and float(nn.mse(np.zeros((0, 2)), np.zeros((0, 2)), reduction="sum")) == 0
    assert np.isnan(nn.mse(np.zeros((0, 2)), np.zeros((0, 2))))


def test_labels_out_of_range() -> None:
    """Known ones raise, also under grad; inside compiled code they give NaN."""
    labels = np.array([0, 5, 2, 2, 1, 3])
    with pytest.raises(LabelError, match=r"0 to 4.*found 5 at \[1\] \(1 of 6"):
        nn.cross_entropy(X, labels)
    with pytest.raises(LabelError, match="found 5"):
        fx.grad(lambda x: nn.cross_entropy(x, labels))(X)
    with pytest.raises(LabelError, match="subtract 1"):
        nn.cross_entropy(X, LABELS + 1)
    losses = fx.jit(lambda x, t: nn.cross_entropy(x, t, reduction="none"))(X, labels)
    np.testing.assert_array_equal(np.isnan(losses), labels == 5)
    with pytest.raises(LabelError, match="-1 or 1"):
        nn.hinge(X, BITS)
    with pytest.raises(LabelError, match="0 to 1"):
        nn.bce_with_logits(X, 2 * BITS)
    with pytest.raises(LabelError, match="the blank"):
        nn.ctc(draw(1, 4, 3), np.array([[1, 0]]))
    sequences = fx.jit(lambda labels, times, lengths: nn.ctc(draw(8, 4, 3), labels, times, lengths, reduction="none"))
    labels, times, lengths = np.full((8, 2), 1), np.full(8, 4), np.full(8, 2)
    labels[1, 0], labels[2, 1], labels[3, 0], labels[4, 1], times[5], lengths[6], lengths[4] = 3, -1, 0, 9, 5, 3, 1
    assert np.isnan(sequences(labels, times, lengths)).tolist() == [i in (1, 2, 3, 5, 6) for i in range(8)]
    with pytest.raises(LabelError, match="at least 0"):
        nn.kl_divergence(X, -SOFT)
    assert np.isnan(nn.kl_divergence(X, np.full_like(SOFT, np.nan)))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: nn.mse(np.ones((3, 1)), np.ones(3)), ShapeError, r"predictions \(3, 1\), targets \(3,\)"),
        (lambda: nn.mse(X, Y, reduction="average"), ShapeError, "'average'"),
        (lambda: nn.mse(X, Y, weights=np.ones(4)), ShapeError, "do not fit"),
        (lambda: nn.mse(X + 1j, Y), DTypeError, "real"),
        (lambda: nn.huber(X, Y, delta=0), ShapeError, "positive delta"),
        (lambda: nn.cross_entropy(X, LABELS[:5]), ShapeError, r"\(6,\).*found \(5,\)"),
        (lambda: nn.cross_entropy(X, LABELS.astype(float)), DTypeError, "astype"),
        (lambda: nn.cross_entropy(X, LABELS, class_weights=np.ones(4)), ShapeError, r"\(5,\)"),
        (lambda: nn.ctc(X, LABELS), ShapeError, r"\(batch, time, classes\)"),
        (lambda: nn.ctc(draw(2, 4, 3), np.ones((2, 2), int), np.array([5, 1])), ShapeError, "between 0 and 4"),
    ],
)
def test_errors_say_what_to_do(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_labels_of_a_few_bits_name_classes_of_many(dtype: str) -> None:
    scores, labels = draw(4, 70_000 if "16" in dtype else 300).astype(np.float32), np.array([0, 3, 100, 127])
    want = nn.cross_entropy(scores, labels)
    assert float(nn.cross_entropy(scores, labels.astype(dtype))) == float(want)
    assert float(fx.jit(nn.cross_entropy)(scores, labels.astype(dtype))) == pytest.approx(float(want), rel=1e-6)
    assert float(nn.cross_entropy(scores, labels.astype(dtype), ignore_index=-100)) == pytest.approx(
        float(want), rel=1e-6
    )
    assert float(nn.focal(scores, labels.astype(dtype))) == float(nn.focal(scores, labels))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_the_gradient_of_focal_is_finite_where_an_example_is_certain(gamma: float) -> None:
    sure = np.float32([[200, -200], [1, 2]])
    for gradient in (fx.grad(lambda x: nn.focal(x, np.array([0, 1]), gamma=gamma))(sure),
                     fx.grad(lambda x: nn.focal(x, np.float32([[1, 0], [0, 1]]), gamma=gamma))(sure)):  # fmt: skip
        assert np.isfinite(np.asarray(gradient)).all()
        assert np.asarray(gradient)[0].tolist() == [0, 0] and (np.asarray(gradient)[1] != 0).all()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (
            lambda: nn.cross_entropy(X, np.array(list("abcdea"))),
            DTypeError,
            r"labels of cross_entropy are <U1.*np\.unique",
        ),
        (lambda: nn.ctc(draw(1, 4, 3), np.array([[None]])), DTypeError, r"labels of ctc are object.*np\.unique"),
        (lambda: nn.cross_entropy(X, LABELS, label_smoothing=1.5), ValueError, "between 0 and 1; found 1.5"),
        (lambda: nn.triplet(X, Y, Z, p=0), ValueError, "p is positive, or infinity; found 0"),
        (lambda: nn.ctc(draw(1, 4, 3), np.array([[1]]), blank=3), ValueError, "0 to 2; found 3"),
    ],
)
def test_labels_and_options_without_a_meaning_are_named(call: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_ctc_without_infinities_as_in_torch() -> None:
    x, labels, lengths = draw(2, 3, 4), np.array([[1, 1, 2], [3, 1, 2]]), np.array([3, 2])
    t = torch.tensor(x, requires_grad=True)
    want = F.ctc_loss(
        torch.log_softmax(t, -1).transpose(0, 1), torch.tensor(labels), torch.tensor([3, 3]), torch.tensor(lengths),
        reduction="none", zero_infinity=True,
    )  # fmt: skip
    want.sum().backward()
    loss = lambda x: nn.ctc(x, labels, label_lengths=lengths, reduction="none", zero_infinity=True)
    np.testing.assert_allclose(loss(x), want.detach().numpy(), rtol=1e-6)
    assert want[0] == 0 and np.isinf(nn.ctc(x, labels, label_lengths=lengths, reduction="none")[0])
    np.testing.assert_allclose(fx.grad(lambda x: fnp.sum(loss(x)))(x), t.grad.numpy(), rtol=1e-6, atol=1e-12)
