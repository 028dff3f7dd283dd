"""``python -m fx viz``: figures of logs, of arrays in files, and of what the programs ``mnist``, ``linear`` and ``logistic`` train."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import data, io, random, viz
from .. import numpy as fnp
from ..errors import CheckpointError, PlotError

__all__ = ["add_commands", "run"]

SHOWN = 24  # digits in a figure of attributions


def history(path: str) -> list[dict[str, float]]:
    """The numbers of every epoch from a file that ``CSVLog`` or ``JSONLog`` wrote."""
    text = Path(path).read_text()
    rows = csv.DictReader(text.splitlines()) if path.endswith(".csv") else map(json.loads, text.splitlines())
    numbers = [{k: float(v) for k, v in row.items() if k not in ("epoch", "step") and v != ""} for row in rows]
    if not numbers:
        raise PlotError(f"{path} holds no epoch: it is a file of train.CSVLog (.csv) or train.JSONLog")
    return numbers


def arrays(path: str, *names: str) -> list[np.ndarray]:
    """Arrays of an npz file, by name.

    Raises:
        PlotError: one is not there; names those that are.
    """
    with np.load(path) as archive:
        missing = [n for n in names if n not in archive]
        if missing:
            raise PlotError(f"{path} holds {', '.join(archive) or 'nothing'}; needed: {', '.join(missing)}")
        return [archive[n] for n in names]


def _curves(file: str) -> Any:
    return viz.curves(history(file))


def _confusion(file: str) -> Any:
    labels, predictions = arrays(file, "labels", "predictions")
    kinds = np.unique(np.concatenate([labels, predictions]))
    counts = np.zeros((len(kinds),) * 2, int)
    np.add.at(counts, (np.searchsorted(kinds, labels), np.searchsorted(kinds, predictions)), 1)
    return viz.confusion(counts, list(kinds))


def _embedding(file: str, method: str) -> Any:
    points, labels = arrays(file, "points", "labels")
    flat = points.reshape(len(points), -1).astype(np.float32)
    return viz.scatter(viz.pca(flat) if method == "pca" else viz.tsne(flat, random.key(0)), labels)


def _attention(file: str) -> Any:
    (weights,) = arrays(file, "weights")
    with np.load(file) as archive:
        names = {name: list(archive[name]) for name in ("queries", "keys") if name in archive}
    return viz.attention(weights, **names)


def _importance(program: str, load: str | None) -> Any:
    """What each measurement is worth to the regression of a program: the fall of its score when the column is shuffled."""
    from . import linear, logistic

    module = {"linear": linear, "logistic": logistic}[program]
    x, y, names = module.table()
    start = linear.init(x.shape[1])
    model = module.train().model if load is None else io.load(load, start)

    def score(x: Any) -> Any:
        found = linear.predict(model, x)
        if program == "logistic":
            return fnp.mean((found > 0) == (y > 0))
        return 1 - fnp.mean((found - y) ** 2) / y.var()

    return viz.bars(viz.permutation_importance(score, x, random.key(0), repeats=20), names)


def _of_mnist(what: str, model: str, load: str | None) -> Any:
    """Looks at a network of the program ``mnist``: a saved one, or one trained for a moment."""
    from . import mnist  # here, so that the other commands need not load it

    start = mnist.init(random.key(0), model)
    params = mnist.train(model=model, epochs=1).model if load is None else io.load(load, start)
    images, labels = (x[:: len(x) // SHOWN][:SHOWN] for x in data.mnist().test)
    features, head = (lambda x: mnist.features(params, x)), (lambda a: mnist.head(params, a))
    forward = lambda x: head(features(x))
    maps: dict[str, Callable[[], Any]] = {
        "saliency": lambda: viz.saliency(forward, images, labels),
        "integrated-gradients": lambda: viz.integrated_gradients(forward, images, labels),
        "grad-cam": lambda: viz.grad_cam(features, head, images, labels),
        "occlusion": lambda: viz.occlusion(forward, images, labels),
    }
    if what == "filters":
        return viz.filters(params["conv"][0]["w"])
    if what == "feature-maps":
        return viz.feature_maps(features(images[:1]))
    return viz.heat(images, maps[what](), [str(n) for n in labels])


KINDS: dict[str, tuple[Callable[..., Any], str, dict[str, dict[str, Any]]]] = {
    "curves": (_curves, "the numbers of every epoch, from a log", {"file": {"help": "of CSVLog or JSONLog"}}),
    "confusion": (_confusion, "which label was taken for which", {"file": {"help": "npz with labels, predictions"}}),
    "embedding": (
        _embedding, "points in two dimensions",
        {"file": {"help": "npz with points, labels"}, "--method": {"choices": ["pca", "tsne"], "default": "pca"}},
    ),
}  # fmt: skip
KINDS["attention"] = (
    _attention, "who looks at whom",
    {"file": {"help": "npz with weights, (heads, queries, keys) or (queries, keys), and, if they have names, queries and keys"}},
)  # fmt: skip
KINDS["permutation-importance"] = (
    _importance, "what each measurement is worth to a regression",
    {
        "--program": {"choices": ["linear", "logistic"], "default": "linear"},
        "--load": {"metavar": "FILE", "help": "what `train PROGRAM --save FILE` wrote; without it, trains"},
    },
)  # fmt: skip
for _what in ("filters", "feature-maps", "saliency", "integrated-gradients", "grad-cam", "occlusion"):
    KINDS[_what] = (
        (lambda what: lambda model, load: _of_mnist(what, model, load))(_what),
        f"{_what.replace('-', ' ')} of the digits' network",
        {
            "--model": {"choices": ["small", "deep", "five"], "default": "small"},
            "--load": {"metavar": "FILE", "help": "what `train mnist --save FILE` wrote; without it, trains one epoch"},
        },
    )


def add_commands(parser: argparse.ArgumentParser) -> None:
    """A command for every kind of figure."""
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, (_, what, arguments) in KINDS.items():
        command = kinds.add_parser(name, help=what, description=what)
        for argument, settings in arguments.items():
            command.add_argument(argument, **settings)
        command.add_argument("--plot", metavar="FILE.png", required=True, help="the file to draw into")


def run(options: dict[str, Any], parser: argparse.ArgumentParser) -> None:
    """Draws; a missing file or package ends it without a traceback."""
    options = dict(options)
    kind, path = options.pop("kind"), options.pop("plot")
    try:
        viz.check_plot(path)
        viz.save(KINDS[kind][0](**options), path)
    except (PlotError, CheckpointError, OSError) as error:
        parser.error(str(error))
    print(f"plotted to {path}")
