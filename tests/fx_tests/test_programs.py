"""The registry of training programs, their ends, and their twins in PyTorch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmarks.programs.__main__ import losses
from benchmarks.programs.twin import TWINS, side
from fx import __main__ as command_line
from fx import data, io, random, viz
from fx.examples import linear, logistic, looking, mlp, mnist, programs


@pytest.fixture
def few_digits(monkeypatch):
    digits = data.mnist()
    few = data.MNIST(*[data.Split(part.images[::8], part.labels[::8]) for part in digits])
    monkeypatch.setattr(data, "mnist", lambda: few)
    return few


def sklearn(name: str):
    return pytest.importorskip(f"sklearn.{name}")


# ------------------------------------------------------------------------------------------- the data


@pytest.mark.parametrize("name", ["diabetes", "breast_cancer"])
def test_the_tables_are_scikit_learn_s(name):
    datasets = sklearn("datasets")
    options = {"scaled": False} if name == "diabetes" else {}
    theirs, ours = getattr(datasets, f"load_{name}")(**options), getattr(data, name)()
    assert np.array_equal(ours.features, theirs.data) and np.array_equal(ours.targets, theirs.target)
    assert list(ours.names) == [str(n) for n in theirs.feature_names]


# ------------------------------------------------------------------------------------------- the ends


def test_linear_regression_ends_at_the_closed_form(capsys):
    result = linear.train(epochs=6)
    x, y, names = linear.table()
    fitted = sklearn("linear_model").LinearRegression().fit(x, y)
    np.testing.assert_allclose(result.model["coefficients"], fitted.coef_, atol=1e-4, rtol=0)
    np.testing.assert_allclose(result.model["intercept"], fitted.intercept_, atol=1e-4, rtol=0)
    assert result.measures["difference"] < 1e-4
    assert result.measures["R2"] == pytest.approx(fitted.score(x, y))
    out = capsys.readouterr().out
    assert all(name in out for name in names)


def test_logistic_regression_ends_at_scikit_learn_s(capsys):
    result = logistic.train(epochs=12)
    x, benign, _ = logistic.table()
    fitted = sklearn("linear_model").LogisticRegression(tol=1e-10, max_iter=5000).fit(x, benign)
    np.testing.assert_allclose(result.model["coefficients"], fitted.coef_[0], atol=1e-4, rtol=0)
    np.testing.assert_allclose(result.model["intercept"], fitted.intercept_[0], atol=1e-4, rtol=0)
    assert result.measures["difference"] < 1e-4
    assert result.measures["accuracy"] == pytest.approx(fitted.score(x, benign))
    assert "Newton" in capsys.readouterr().out


def test_a_perceptron_learns(few_digits, capsys):
    result = mlp.train(epochs=4)
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2
    assert result.measures["accuracy"] > 0.75
    assert capsys.readouterr().out.startswith("mlp 784-128-10\nepoch 1/4  training loss ")


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("vae", {"elbo": (-175, -80)}),
        ("tune", {"random": (0.6, 1), "halving": (0.8, 1), "median": (0.05, 0.6)}),
    ],
)
def test_quick_runs_reach_their_ends(name, bounds, tmp_path):
    program = programs.load(name)
    result = program.train(**program.QUICK)
    for measure, (least, most) in bounds.items():
        assert least < result.measures[measure] < most, measure
    viz.save(program.figure(result), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


# ------------------------------------------------------------------------------------------- the twins


@pytest.mark.parametrize(
    ("name", "steps"), [("linear", 20), ("logistic", 20), ("mlp", 12), ("mnist-five", 3), ("vae", 4)]
)
def test_twins_have_the_same_losses(name, steps):
    pytest.importorskip("torch")
    ours, theirs = losses(side(name, "fx"), steps), losses(side(name, "torch"), steps)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert ours[-1] != ours[0]


def test_every_twin_is_of_a_program():
    assert {name.partition("-")[0] for name in TWINS} <= set(programs.PROGRAMS)


# ------------------------------------------------------------------------------------ the command line


def test_every_program_has_what_the_command_line_needs():
    for name in programs.PROGRAMS:
        module = programs.load(name)
        options = set(module.train.__kwdefaults__)
        assert set(module.QUICK) <= options and "epochs" in options
        assert ("model" in options) == hasattr(module, "MODELS")


def test_the_command_line_imports_only_the_program_it_runs():
    code = "import sys, fx.__main__ as m\ntry: m.main(['train', '--help'])\nexcept SystemExit: print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "fx.examples.programs" in out and "fx.examples.mnist" not in out
    assert all(name in out for name in programs.PROGRAMS)


def test_quick_settings_give_way_to_options(few_digits, capsys, tmp_path):
    command_line.main(["train", "mlp", "--quick", "--batch-size", "100", "--save", str(tmp_path / "model.safetensors")])
    out = capsys.readouterr().out
    assert "epoch 1/1" in out and "after 1 epochs" in out and "saved to" in out
    start = mlp.MLP(random.key(9))
    assert not np.array_equal(io.load(tmp_path / "model.safetensors", start).hidden.weight, start.hidden.weight)
    command_line.main(["train", "linear", "--quick", "--epochs", "1", "--plot", str(tmp_path / "coefficients.png")])
    assert (tmp_path / "coefficients.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "kind", ["filters", "feature-maps", "saliency", "integrated-gradients", "grad-cam", "occlusion"]
)
def test_saved_networks_are_looked_at(kind, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(looking, "SHOWN", 3)
    io.save(tmp_path / "five.safetensors", mnist.init(random.key(0), "five"))
    plot = ["--plot", str(tmp_path / "out.png")]
    command_line.main(["viz", kind, "--model", "five", "--load", str(tmp_path / "five.safetensors"), *plot])
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        command_line.main(["viz", kind, "--model", "small", "--load", str(tmp_path / "five.safetensors"), *plot])
    assert "is a checkpoint of something else" in capsys.readouterr().err


def test_a_place_to_save_is_looked_for_before_training(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["train", "linear", "--save", "/no/where/model.safetensors"])
    assert "there is no folder" in capsys.readouterr().err
