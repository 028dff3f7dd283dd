"""Attributions obey their axioms, embeddings are scikit-learn's, figures show what they are given."""

from __future__ import annotations

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import __main__ as command_line
from fx import random, viz
from fx.errors import PlotError, ShapeError
from fx.examples import linear, looking
from fx.viz.embedding import divergence, neighbour_probabilities

RNG = np.random.RandomState(0)
W1, W2 = RNG.normal(size=(6, 5)).astype(np.float32), RNG.normal(size=(5, 3)).astype(np.float32)
X = RNG.normal(size=(4, 6)).astype(np.float32)
IMAGES = RNG.normal(size=(2, 7, 6, 2)).astype(np.float32)


def network(x):
    return fnp.tanh(x @ W1) @ W2


# ---------------------------------------------------------------------------------------- attribution


def test_saliency_is_the_size_of_the_derivative():
    jacobian = np.stack([fx.jacrev(lambda x: network(x[None])[0])(x) for x in X])
    for target in (2, np.array([0, 1, 2, 0]), None):
        chosen = np.argmax(network(X), 1) if target is None else np.broadcast_to(target, 4)
        np.testing.assert_allclose(viz.saliency(network, X, target), np.abs(jacobian[np.arange(4), chosen]), rtol=1e-4)


@pytest.mark.parametrize("baseline", [0.0, X[::-1]])
def test_integrated_gradients_share_out_the_whole_difference(baseline):
    got = viz.integrated_gradients(network, X, 1, baseline=baseline, steps=24)
    difference = network(X)[:, 1] - network(np.broadcast_to(baseline, X.shape).astype(np.float32))[:, 1]
    np.testing.assert_allclose(np.sum(got, axis=1), difference, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_of_polynomials_need_few_points():
    x = np.array([[2.0, 3.0, 5.0]])
    np.testing.assert_allclose(viz.integrated_gradients(lambda x: x[:, 0] ** 3, x, steps=2), [[8, 0, 0]], atol=1e-12)
    product = viz.integrated_gradients(lambda x: fnp.prod(x, axis=1), x, steps=2)
    np.testing.assert_allclose(product, [[10, 10, 10]], rtol=1e-12)


def test_grad_cam_weighs_channels_by_their_derivative():
    weights = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)  # channels, outputs
    features, head = (lambda x: x), (lambda a: fnp.mean(a, (1, 2)) @ weights)
    got = viz.grad_cam(features, head, IMAGES, 1)
    np.testing.assert_allclose(got, np.maximum(IMAGES @ weights[:, 1] / 42, 0), rtol=1e-4, atol=1e-6)
    assert viz.grad_cam(features, head, IMAGES, size=(14, 12)).shape == (2, 14, 12)


def test_occlusion_of_a_linear_score_is_what_was_covered():
    weights = RNG.normal(size=(7, 6, 2)).astype(np.float32)
    got = viz.occlusion(lambda x: fnp.sum(x * weights, (1, 2, 3)), IMAGES, window=3, stride=2)
    covered = [
        [[np.sum((image * weights)[r : r + 3, c : c + 3]) for c in (0, 2)] for r in (0, 2, 4)] for image in IMAGES
    ]
    np.testing.assert_allclose(got, covered, rtol=1e-3, atol=1e-4)


def test_permutation_importance_is_zero_for_what_is_not_used_and_ranks_the_rest():
    x = RNG.normal(size=(200, 3)).astype(np.float32)
    y = 3 * x[:, 0] + x[:, 2]
    falls = np.asarray(
        viz.permutation_importance(lambda x: -fnp.mean((3 * x[:, 0] + x[:, 2] - y) ** 2), x, random.key(0))
    )
    assert falls.shape == (3, 5) and not falls[1].any()
    np.testing.assert_allclose(falls.mean(1)[[0, 2]], [18, 2], rtol=0.2)  # 2 w^2 var: a permuted column is a fresh draw


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: viz.saliency(lambda x: x[:, None, None], X), "(batch, outputs)"),
        (lambda: viz.saliency(network, X, 3), "there are 3"),
        (lambda: viz.grad_cam(lambda x: x, network, X), "(batch, height, width, channels)"),
        (lambda: viz.occlusion(network, X), "window=4"),
        (lambda: viz.permutation_importance(fnp.sum, X[0], random.key(0)), "(examples, columns)"),
        (lambda: viz.pca(X, 7), "(points, features)"),
        (lambda: viz.tsne(X, random.key(0)), "perplexity"),
        (lambda: viz.confusion(np.zeros((2, 3))), "square"),
        (lambda: viz.filters(np.zeros((2, 3))), "(height, width, in, out)"),
        (lambda: viz.bars([1, 2], ["a"]), "a name for each row"),
    ],
)
def test_wrong_shapes_are_named(call, says):
    with pytest.raises(ShapeError) as caught:
        call()
    assert says in str(caught.value)


# ------------------------------------------------------------------------------------------ embedding


def test_principal_components_are_scikit_learn_s():
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = RNG.normal(size=(30, 5)) @ np.diag([5, 3, 1, 0.5, 0.1])
    ours, theirs = np.asarray(viz.pca(x, 3)), decomposition.PCA(3).fit_transform(x)
    np.testing.assert_allclose(ours * np.sign(ours[0]), theirs * np.sign(theirs[0]), rtol=1e-8)


def test_neighbours_have_the_perplexity_and_the_divergence_is_scikit_learn_s():
    manifold = pytest.importorskip("sklearn.manifold._t_sne")
    x = RNG.normal(size=(20, 4))
    p = np.asarray(neighbour_probabilities(fnp.asarray(x), 5.0))
    squares = np.sum((x[:, None] - x) ** 2, -1)
    theirs = manifold._joint_probabilities(squares.astype(np.float32), 5.0, 0)
    upper = np.triu_indices(20, 1)
    np.testing.assert_allclose(p[upper], theirs, atol=2e-6)  # their search stops at 1e-5 in entropy
    y = RNG.normal(size=(20, 2))
    value, gradient = manifold._kl_divergence(y.ravel(), p[upper], 1, 20, 2)
    ours = fx.jit(fx.value_and_grad(divergence))(y, p)
    np.testing.assert_allclose(ours[0], value, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(ours[1]).ravel(), gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_groups_stay_together_in_a_t_sne(seed):
    labels = np.repeat([0, 1, 2], 12)
    x = (np.random.default_rng(seed).normal(size=(36, 8)) + 12 * np.eye(8)[labels]).astype(np.float32)
    y = np.asarray(viz.tsne(x, random.key(seed), perplexity=5, steps=250))
    distances = np.sum((y[:, None] - y) ** 2, -1) + np.diag([np.inf] * 36)
    assert (labels[np.argmin(distances, 1)] == labels).all()


# -------------------------------------------------------------------------------------------- figures


def test_figures_show_what_they_are_given():
    pytest.importorskip("matplotlib")
    history = [{"loss": 2.0, "validation_loss": 1.5, "seconds": 1}, {"loss": 1.0, "validation_loss": 1.2, "seconds": 1}]
    assert viz.curves(history)._repr_png_().startswith(b"\x89PNG")
    (axes,) = viz.curves(history).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[2, 1], [1.5, 1.2]] and axes.get_yscale() == "log"
    counts = np.array([[5, 1], [0, 4]])
    (axes,) = viz.confusion(counts, ["cat", "dog"]).axes
    assert [t.get_text() for t in axes.texts] == ["5", "1", "4"]
    np.testing.assert_allclose(axes.images[0].get_array(), counts / [[6], [4]])
    drawn = viz.images(IMAGES[..., :1], ["a", "b"], columns=3)
    assert [a.get_title() for a in drawn.axes] == ["a", "b", ""] and len(drawn.axes[2].images) == 0
    np.testing.assert_array_equal(drawn.axes[1].images[0].get_array(), IMAGES[1, :, :, 0])
    kernels = viz.filters(RNG.normal(size=(3, 3, 2, 4)))
    assert sum(len(a.images) for a in kernels.axes) == 4
    assert sum(len(a.images) for a in viz.feature_maps(IMAGES).axes) == 2
    heads = viz.attention(np.ones((2, 3, 4)) / 4, "abc", "wxyz").axes
    assert len(heads) == 2 and [t.get_text() for t in heads[1].get_xticklabels()] == list("wxyz")
    (axes,) = viz.scatter(X[:, :2], [0, 1, 0, 1]).axes
    np.testing.assert_allclose(axes.collections[1].get_offsets(), X[1::2, :2])
    over = viz.heat(IMAGES, IMAGES[..., 0]).axes[0].images[1]
    assert over.get_clim() == (-np.abs(IMAGES[0, ..., 0]).max(), np.abs(IMAGES[0, ..., 0]).max())
    (axes,) = viz.bars(np.array([[1.0, 3.0], [9.0, 9.0]]), ["low", "high"]).axes
    assert [bar.get_width() for bar in axes.patches] == [2, 9]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["low", "high"]


@pytest.mark.parametrize(
    ("path", "says"), [("run.txt", "must end in .png"), ("/no/where/run.png", "there is no folder")]
)
def test_a_figure_that_cannot_be_saved_is_said_before(path, says):
    with pytest.raises(PlotError, match=says):
        viz.check_plot(path)


# --------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize(
    "kind",
    [
        ["curves", "run.csv"],
        ["curves", "run.jsonl"],
        ["confusion", "a.npz"],
        ["embedding", "a.npz", "--method", "pca"],
        ["attention", "a.npz"],
        ["attention", "heads.npz"],
    ],
)
def test_the_command_draws(kind, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.csv").write_text("epoch,loss,accuracy\n1,2.0,\n2,1.0,0.5\n")
    (tmp_path / "run.jsonl").write_text('{"epoch": 1, "step": 3, "loss": 2.0}\n{"epoch": 2, "step": 6, "loss": 1.0}\n')
    np.savez(tmp_path / "a.npz", points=X, labels=[0, 1, 0, 1], predictions=[0, 1, 1, 1], weights=np.eye(2))
    np.savez(tmp_path / "heads.npz", weights=np.ones((2, 3, 2)), queries=list("abc"), keys=list("de"))
    command_line.main(["viz", *kind, "--plot", "out.png"])
    assert (tmp_path / "out.png").read_bytes().startswith(
        b"\x89PNG"
    ) and "plotted to out.png" in capsys.readouterr().out


@pytest.mark.parametrize("program", ["linear", "logistic"])
def test_the_command_draws_what_measurements_are_worth(program, tmp_path, monkeypatch):
    """Of least squares 2 w**2 var(x) / var(y) of R2, in the mean over orders; what a column of no weight is worth is 0."""
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(looking.viz, "bars", lambda values, names: drawn.append((values, names)) or viz.figure(1, 1))
    command_line.main(["viz", "permutation-importance", "--program", program, "--plot", str(tmp_path / "out.png")])
    ((values, names),) = drawn
    mean = np.asarray(values).mean(axis=1)
    assert values.shape == (len(names), 20)
    if program == "linear":
        x, y, _ = linear.table()
        np.testing.assert_allclose(mean, 2 * linear.closed_form(x, y)[:-1] ** 2 / y.var(), rtol=0.1, atol=0.02)
    else:
        assert -0.01 < mean.min() and 0.01 < mean.max() < 0.1 and names[int(mean.argmax())].startswith("worst")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["viz", "curves", "missing.csv", "--plot", "a.png"], "missing.csv"),
        (["viz", "curves", "empty.csv", "--plot", "a.png"], "holds no epoch"),
        (["viz", "confusion", "a.npz", "--plot", "a.png"], "needed: predictions"),
        (["viz", "saliency", "--plot", "a.txt"], "must end in .png"),
        (["viz", "curves", "a.csv"], "--plot"),
    ],
)
def test_wrong_commands_end_with_a_message(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("epoch,loss\n")
    np.savez(tmp_path / "a.npz", labels=[0, 1])
    with pytest.raises(SystemExit):
        command_line.main(arguments)
    assert says in capsys.readouterr().err


def test_names_that_do_not_fit_a_figure_are_named():
    with pytest.raises(PlotError, match="the history has no acc; it has loss"):
        viz.curves([{"loss": 1.0}], ["acc"])
    with pytest.raises(PlotError, match="a list with the numbers of each epoch by name"):
        viz.curves(np.ones(3))
    with pytest.raises(ShapeError, match="a name for each of 2 labels; found 1"):
        viz.confusion(np.ones((2, 2)), ["one"])
