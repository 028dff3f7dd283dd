"""The first real run: the digits, their batches, the program that trains on them, its command line."""

from __future__ import annotations

import importlib.util
import runpy
import signal
import sys

import numpy as np
import pytest
from recorded import answers

import fx
from fx import __main__ as command_line
from fx import data, io, optim, random, tree
from fx import train as training
from fx.errors import ShapeError
from fx.examples import mnist, programs

KEY = np.array([0, 5], np.uint32)


@pytest.fixture(scope="module")
def digits():
    return data.mnist()


def every(n, digits, monkeypatch):
    """Every ``n``-th of the digits, in place of all."""
    few = data.MNIST(*[data.Split(part.images[::n], part.labels[::n]) for part in digits])
    monkeypatch.setattr(data, "mnist", lambda full=False: few)
    return few


@pytest.fixture
def few_digits(digits, monkeypatch):
    """1000 digits to learn from."""
    return every(8, digits, monkeypatch)


@pytest.fixture
def fewest_digits(digits, monkeypatch):
    """200 digits, for programs whose running counts and not what they learn."""
    return every(40, digits, monkeypatch)


# ---------------------------------------------------------------------------------------------- data


def test_the_split_is_stratified_and_fixed(digits):
    train, test = digits
    assert train.images.shape == (8000, 28, 28, 1)
    assert test.images.shape == (2000, 28, 28, 1)
    assert train.images.dtype == test.images.dtype == np.float32
    assert train.labels.dtype == test.labels.dtype == np.int32
    assert (train.images.min(), train.images.max()) == (0, 1)
    counts = np.bincount(train.labels), np.bincount(test.labels)
    assert np.abs(counts[0] / 4 - counts[1]).max() < 1.25
    again = data.mnist()
    assert all(np.array_equal(a, b) for a, b in zip(tree.leaves(digits), tree.leaves(again)))
    checksum = [
        int((np.rint(part.images * 255).astype(np.int64).sum((1, 2, 3)) * (np.arange(len(part.labels)) % 97)).sum())
        for part in digits
    ]
    assert checksum == [10002632099, 2489545052]


def test_no_digit_is_in_both_parts(digits):
    seen = {image.tobytes() for image in digits.train.images}
    assert sum(image.tobytes() in seen for image in digits.test.images) == 0


def test_batches_cover_every_example_once():
    x, y = np.arange(10), np.arange(10) * 2
    whole = data.batches((x, y), 4)
    assert len(whole) == 3
    assert [b[0].tolist() for b in whole] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert whole[-1][1].tolist() == [16, 18]
    assert [len(b[0]) for b in data.batches((x, y), 4, drop_last=True)] == [4, 4]
    shuffled = np.concatenate([b[0] for b in data.batches((x, y), 4, key=KEY)])
    assert sorted(shuffled) == list(x) != shuffled.tolist()
    assert shuffled.tolist() == np.concatenate([b[0] for b in data.batches((x, y), 4, key=KEY)]).tolist()
    other = np.concatenate([b[0] for b in data.batches((x, y), 4, key=random.fold_in(KEY, 1))])
    assert other.tolist() != shuffled.tolist()
    with pytest.raises(IndexError, match="batch 3 of 3"):
        whole[3]


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_shifts_move_images_and_fill_with_zeros(backend):
    images = np.random.RandomState(0).uniform(0.5, 1, (20, 6, 5, 2)).astype(np.float32)
    got = np.asarray(fx.jit(data.random_shift, backend=backend)(KEY, images))
    found = set()
    for image, shifted in zip(images, got):
        fits = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if np.array_equal(np.pad(image, ((2, 2), (2, 2), (0, 0)))[2 + dy : 8 + dy, 2 + dx : 7 + dx], shifted)
        ]
        assert len(fits) == 1
        found.update(fits)
    assert len(found) > 8


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: data.batches((np.zeros(3), np.zeros(4)), 2), "equal length"),
        (lambda: data.batches((), 2), "at least one"),
        (lambda: data.batches((np.zeros(3),), 0), "positive batch size"),
        (lambda: data.random_shift(KEY, np.zeros((3, 3))), "(batch, height, width, channels)"),
    ],
)
def test_errors_say_what_to_do(call, says):
    with pytest.raises(ShapeError) as caught:
        call()
    assert says in str(caught.value)


# ------------------------------------------------------------------------------------------- training


def adam_losses(backend, digits, model="small", steps=4):
    params, optimizer = mnist.init(random.key(0), model), optim.adam(1e-3)
    state = optimizer.init(params)

    @fx.jit(backend=backend)
    def step(params, state, images, labels):
        value, gradient = fx.value_and_grad(mnist.loss)(params, images, labels)
        updates, state = optimizer.update(gradient, state, params)
        return optim.apply_updates(params, updates), state, value

    losses = []
    for i in range(steps):
        params, state, value = step(params, state, digits.train.images[i::250], digits.train.labels[i::250])
        losses.append(float(value))
    return losses


@pytest.fixture(scope="module")
def torch_losses(request, digits):
    """The losses of the same network from the same start under PyTorch 2.13."""

    def compute():
        torch = pytest.importorskip("torch")
        F = torch.nn.functional
        params = mnist.init(random.key(0), "small")
        leaves = [torch.tensor(np.array(x)).requires_grad_() for x in tree.leaves(params)]
        (conv,), (hidden, last) = (v for v in tree.unflatten(tree.structure(params), leaves).values())
        optimizer, losses = torch.optim.Adam(leaves, 1e-3), []
        for i in range(4):
            x = torch.tensor(digits.train.images[i::250]).permute(0, 3, 1, 2)
            x = (
                F.max_pool2d(F.relu(F.conv2d(x, conv["w"].permute(3, 2, 0, 1), conv["b"])), 2)
                .permute(0, 2, 3, 1)
                .flatten(1)
            )
            logits = F.relu(x @ hidden["w"] + hidden["b"]) @ last["w"] + last["b"]
            loss = F.cross_entropy(logits, torch.tensor(digits.train.labels[i::250]).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return {"losses": losses}

    return answers("torch_mnist", request.config.getoption("--update-golden"), compute)["losses"]


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_steps_are_pytorch_s(torch_losses, digits, backend):
    np.testing.assert_allclose(adam_losses(backend, digits), torch_losses, rtol=2e-4)


@pytest.mark.parametrize(("model", "accuracy"), [("small", 0.8), ("deep", 0.6), ("five", 0.6)])
def test_training_learns(few_digits, capsys, model, accuracy):
    result = mnist.train(model=model, epochs=2, batch_size=64)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"mnist, {model} model"
    assert lines[1].startswith("epoch 1/2  training loss ")
    assert lines[2].startswith("epoch 2/2  training loss ")
    assert "s compiling," in lines[3] and "s training" in lines[3] and len(lines) == 4
    first, second = result.history
    assert second["loss"] < first["loss"]
    assert result.measures["accuracy"] == second["validation_accuracy"] > accuracy
    assert second["rate"] > 0
    assert result.measures["compiling"] > 0 and result.measures["training"] > 0
    assert len(result.model["conv"]) == len(mnist.MODELS[model].conv)
    right = result.shown["predictions"] == few_digits.test.labels
    assert np.mean(right) == pytest.approx(result.measures["accuracy"])


def test_the_same_seed_gives_the_same_run(fewest_digits, capsys):
    runs = [mnist.train(epochs=1, batch_size=80, seed=seed).model for seed in (1, 1, 2)]
    leaves = [[np.asarray(x).tobytes() for x in tree.leaves(params)] for params in runs]
    assert leaves[0] == leaves[1]
    assert leaves[0] != leaves[2]


# ---------------------------------------------------------------------------------------- command line


def test_the_command_trains_and_plots(fewest_digits, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "run.png"
    command_line.main(["train", "mnist", "--epochs", "1", "--batch-size", "80", "--seed", "3", "--plot", str(file)])
    out = capsys.readouterr().out
    assert f"plotted to {file}" in out
    assert file.read_bytes().startswith(b"\x89PNG")


def test_the_program_runs_by_itself(fewest_digits, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mnist.py", "--epochs", "1", "--batch-size", "80"])
    monkeypatch.delitem(sys.modules, "fx.examples.mnist")
    runpy.run_module("fx.examples.mnist", run_name="__main__")
    assert "after 1 epochs" in capsys.readouterr().out


def test_info_says_what_runs(capsys):
    command_line.main(["info"])
    out = capsys.readouterr().out
    assert all(word in out for word in ("fx", "NumPy", "backend", "native", "threads", "kernel cache", "MiB"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "mnist", "--epochs", "0"], "must be at least 1"),
        (["train", "mnist", "--batch-size", "-3"], "must be at least 1"),
        (["train", "mnist", "--seed", "-1"], "2**32"),
        (["train", "mnist", "--model", "huge"], "small"),
        (["train", "mnist", "--plot", "/nowhere/at/all/run.png"], "there is no folder"),
        (["train", "mnist", "--plot", "run.txt"], "must end in .png"),
        (["train", "cifar"], "mnist"),
        ([], "command"),
    ],
)
def test_wrong_commands_end_with_a_message(arguments, says, capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.main(arguments)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("command", "says"), [("train", "handwritten digits"), ("viz", "curves")])
def test_a_command_alone_lists_what_there_is(command, says, capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.main([command])
    assert caught.value.code == 0
    assert says in capsys.readouterr().out


def test_a_missing_matplotlib_is_named_before_training(capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name == "matplotlib" else found(name, *args)
    )
    with pytest.raises(SystemExit):
        command_line.main(["train", "mnist", "--plot", "run.png"])
    assert "pip install matplotlib" in capsys.readouterr().err


def test_an_interruption_ends_quietly(monkeypatch):
    def interrupted(epochs=1):
        raise KeyboardInterrupt

    monkeypatch.setattr(mnist, "train", interrupted)
    with pytest.raises(SystemExit, match="interrupted"):
        command_line.main(["train", "mnist"])


@pytest.fixture
def keyboard_interrupts():
    """Python's handling of Ctrl-C: a process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_program_saves_the_network_as_it_is(tmp_path, monkeypatch, keyboard_interrupts):
    def press(run):
        if run.batch == 2:
            signal.raise_signal(signal.SIGINT)

    def interrupted(epochs=1):
        loss, images = lambda model, batch, key: fx.numpy.mean((batch @ model) ** 2), [np.eye(2, dtype=np.float32)] * 5
        callbacks = [training.Call(step=press)]
        training.Trainer(loss, optim.sgd(0.5)).fit(np.ones(2, np.float32), images, epochs=1, callbacks=callbacks)

    monkeypatch.setattr(mnist, "train", interrupted)
    with pytest.raises(SystemExit, match="after 2 steps is saved to"):
        command_line.main(["train", "mnist", "--save", str(tmp_path / "network.safetensors")])
    np.testing.assert_array_equal(io.load(tmp_path / "network.safetensors"), [0.25, 0.25])
    monkeypatch.setattr(mnist, "train", lambda epochs=1: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit, match="nothing is saved"):
        command_line.main(["train", "mnist", "--save", str(tmp_path / "none.safetensors")])
    assert not (tmp_path / "none.safetensors").exists()


def test_the_clock_separates_compiling():
    f = fx.jit(lambda x: x + 1, backend="reference")
    clock = programs.Clock([f])
    f(np.ones(2))
    clock.lap("step")
    for _ in range(3):
        f(np.ones(2))
        clock.lap("step")
    assert clock.compiling > 0
    assert clock.total == pytest.approx(clock.compiling + clock.running)
    f(np.ones(3))
    before = clock.compiling
    clock.lap("step")
    assert clock.compiling > before
