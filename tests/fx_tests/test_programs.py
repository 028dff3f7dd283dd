"""The registry of training programs, their ends, and their twins in PyTorch."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import numpy as np
import pytest

import fx
from benchmarks.programs.__main__ import losses
from benchmarks.programs.twin import TWINS, side
from fx import __main__ as command_line
from fx import data, io, random, viz
from fx.examples import attention, gan, linear, logistic, looking, mlp, mnist, programs, transformer, tune


@pytest.fixture
def few_digits(monkeypatch):
    digits = data.mnist()
    few = data.MNIST(*[data.Split(part.images[::8], part.labels[::8]) for part in digits])
    monkeypatch.setattr(data, "mnist", lambda **options: few)
    return few


@pytest.fixture
def optimized():
    """What runs for thousands of steps takes less time with kernels that LLVM has optimised, its compilation included."""
    with fx.config.using(engine="llvm"):
        yield


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


ENDS = {
    "lstm": {"lstm": (15, 19.3), "AR(9)": (17.94, 17.96), "a year before": (37, 38)},
    "transformer": {"transformer": (3, 4.3), "5-gram": (2.2, 2.5), "xz": (2.6, 3)},
    "attention": {"loss": (0, 0.8), "exact": (0.01, 1)},
    "transfer": {"transfer": (0.6, 1), "scratch": (0.6, 1), "frozen": (0.5, 2)},
    "tune": {"random": (0.6, 1), "halving": (0.8, 1), "median": (0.05, 0.6)},
    "vae": {"elbo": (-175, -80)},
}
"""What a quick run measures, between bounds that one which learns nothing does not keep."""


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", ENDS)
def test_quick_runs_reach_their_ends(name, tmp_path):
    program = programs.load(name)
    result = program.train(**program.QUICK)
    for measure, (least, most) in ENDS[name].items():
        assert least < result.measures[measure] < most, measure
    if hasattr(program, "figure"):
        viz.save(program.figure(result), tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.usefixtures("optimized")
def test_a_generator_learns_that_images_are_mostly_dark(tmp_path):
    result = gan.train(**gan.QUICK)
    images = result.shown["images"]
    assert images.shape == (10, gan.MADE, 28, 28)
    assert 0.05 < images.mean() < 0.3  # MNIST: 0.13; a generator that knows nothing: 0.5
    assert 0 <= result.measures["rarest"] <= result.measures["recognised"] <= 1
    viz.save(gan.figure(result), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_digits_are_recognised_that_the_judge_is_sure_of(monkeypatch):
    sure = [(0, 0.95), (1, 0.95), (1, 0.89), (2, 0.95)]  # the judge's digit, and how sure it is
    found = np.full((4, 10), 0.0)
    for row, (digit, p) in zip(found, sure):
        row[digit] = p
    monkeypatch.setattr(gan, "probabilities", lambda judge, images: found)
    measures = gan.recognised(None, None, np.array([0, 1, 1, 3]))
    assert measures == {"recognised": 0.75, "as asked": 0.5, "rarest": 0.0}


def test_optuna_proposes_settings():
    pytest.importorskip("optuna")
    result = tune.train(epochs=1, examples=640, sampler="optuna")
    assert len(set(np.asarray(result.shown["settings"].rate).tolist())) == tune.SIZE
    assert 0.2 < result.measures["optuna"] <= 1


def test_optuna_is_asked_for_by_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit):
        command_line.main(["train", "tune", "--quick", "--sampler", "optuna"])
    assert "pip install 'fxjit[tune]'" in capsys.readouterr().err


def test_ngrams_give_the_probabilities_of_their_recursion():
    codes, held_out = np.array([0, 1, 0, 2, 0, 1, 1, 0, 1, 0, 2, 2, 0, 1, 3, 0, 1, 0], np.int32), 6
    before = codes[:-held_out].tolist()

    def probability(context: tuple[int, ...], code: int) -> float:
        n = len(context)
        shorter = probability(context[1:], code) if n else 1 / 4
        followers = [before[i] for i in range(n, len(before)) if tuple(before[i - n : i]) == context]
        kinds = len(set(followers))
        return (followers.count(code) + kinds * shorter) / (len(followers) + kinds) if followers else shorter

    places = range(len(codes) - held_out, len(codes))
    bits = [-np.log2(probability(tuple(codes[i - 2 : i].tolist()), int(codes[i]))) for i in places]
    assert transformer.ngram_bits(codes, held_out, order=3) == pytest.approx(np.mean(bits))


def test_attention_is_given_dates_in_every_form():
    days = np.full(len(attention.FORMS), 731000)
    texts, dates = attention.examples_of(days, np.arange(len(attention.FORMS)))
    spelled = ["".join(attention.ALPHABET[c] for c in row if c) for row in texts]
    assert "Friday, 31 May 2002" not in spelled and len(set(spelled)) == len(spelled)
    assert {"".join(attention.OUT[c] for c in row) for row in dates} == {"2002-05-30"}
    assert "Thursday, 30 May 2002" in spelled


# ------------------------------------------------------------------------------------------- the twins


STEPS = {
    "linear": 20, "logistic": 20, "mlp": 12, "mnist-five": 3, "lstm": 3, "transformer": 3, "attention": 2, "vae": 4, "gan": 3,
    "transfer": 3, "tune": 6,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "library"), [*[(name, "torch") for name in STEPS], ("logistic", "jax"), ("mlp", "jax"), ("tune", "jax")]
)
def test_twins_have_the_same_losses(name, library):
    pytest.importorskip(library)
    ours, theirs = (losses(side(name, which), STEPS[name]) for which in ("fx", library))
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert ours[-1] != ours[0]


def test_every_program_has_a_twin():
    assert {name.partition("-")[0] for name in TWINS} == set(programs.PROGRAMS)


# ------------------------------------------------------------------------------------ the command line


def test_every_program_has_what_the_command_line_needs():
    for name in programs.PROGRAMS:
        module = programs.load(name)
        options = set(module.train.__kwdefaults__)
        assert set(module.QUICK) <= options and "epochs" in options
        assert ("model" in options) == hasattr(module, "MODELS")


def modules_after(*arguments: str) -> set[str]:
    code = f"import sys, fx.__main__ as m\ntry: m.main({list(arguments)})\nexcept SystemExit: print('', *sys.modules, sep='\\n')"
    return set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    )


def test_the_command_line_imports_only_the_program_it_runs():
    listed, chosen = modules_after("train", "--help"), modules_after("train", "mnist", "--help")
    assert not {"fx.nn", "fx.viz", "fx.as_jax", "jit"} & listed
    assert {"fx.examples.mnist", "fx.nn"} <= chosen
    assert not {"fx.examples.mlp", "fx.as_jax", "jit", "urllib.request", "ssl"} & chosen


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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--examples", "0"], "argument --examples: must be at least 1; found 0"),
        (["--full"], "could not be fetched"),
        (["--epoch", "x"], "must be a whole number; found 'x'"),
        (["--no-such"], "unrecognized arguments: --no-such"),
    ],
)
def test_options_that_a_program_cannot_take_end_it_without_a_traceback(options, says, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path))
    module = importlib.import_module("fx.data.mnist")
    monkeypatch.setattr(module, "_REMOTE", tuple(f._replace(mirrors=("file:///no/where",)) for f in module._REMOTE))
    with pytest.raises(SystemExit):
        command_line.main(["train", "mlp", "--quick", *options])
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "options", "says"),
    [
        ("mlp", ["--epochs", "many"], "argument --epochs: must be a whole number; found 'many'"),
        ("transformer", ["--width", "0"], "argument --width: must be at least 1"),
        ("transformer", ["--characters", "10"], "10 characters are less than one batch of 16 pieces of 32"),
        ("transformer", ["--context", "100000"], "80000 characters are less than one batch of 16 pieces of 100000"),
        ("transfer", ["--draws", "0"], "argument --draws: must be at least 1"),
        ("tune", ["--batch-size", "5000"], "training examples are less than one batch of 5000"),
    ],
)
def test_numbers_that_a_program_cannot_take_are_named(program, options, says, capsys):
    with pytest.raises(SystemExit):
        command_line.main(["train", program, "--quick", *options])
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_every_option_of_a_program_is_explained(name):
    options = inspect.signature(programs.load(name).train).parameters
    assert set(options) <= set(programs._HELP)
