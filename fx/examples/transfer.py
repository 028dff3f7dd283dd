"""What was learned on MNIST, reused on another data set with frozen layers.  ``python -m fx train transfer --help``.

A convolutional network is trained on MNIST (28 x 28).  Of the 8 x 8 digits of Alpaydin and Kaynak, other hands on another scanner, only
three of each have labels; they are enlarged to what the network knows.  Then three ways to learn from these thirty:

* ``transfer``: the layers of the MNIST network stay as they are, and only a new last layer is trained;
* ``random``: the same with layers that were never trained;
* ``scratch``: a new network, all of it trained.

Which digits have labels matters much when they are so few, so everything is done for several draws of them, and means are told.

Source: Yosinski, Clune, Bengio, Lipson, "How transferable are features in deep neural networks?", 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fx
import fx.numpy as fnp
from fx import data, image, optim, random, viz
from fx.examples import mnist, programs
from fx.train import Trainer

QUICK = {"epochs": 30, "source_epochs": 1, "source_examples": 2000, "draws": 1}
MODEL = "deep"
LAST = {"conv": False, "dense": [False, True]}  # what is trained: a prefix of the tree of parameters


def enlarged(images: Any) -> Any:
    """8 x 8 images as MNIST's are: 20 x 20, in a frame of 4 empty pixels."""
    large = fx.jit(lambda x: image.resize(x, (len(x), 20, 20, 1), "bilinear"))(images)
    return np.pad(np.asarray(large), ((0, 0), (4, 4), (4, 4), (0, 0)))


def with_new_head(params: Any, key: Any) -> Any:
    """The parameters with a last layer that knows nothing."""
    return {**params, "dense": [params["dense"][0], mnist.init(key, MODEL)["dense"][1]]}


def trainer(trainable: Any) -> Trainer:
    """Loss and optimizer; what ``trainable`` says False to stays as it is."""
    return Trainer(mnist.plain_loss, optim.adam(3e-3), {"accuracy": mnist.accuracy}, trainable=trainable)


frozen, free = trainer(LAST), trainer(True)


def split(labels: np.ndarray, each: int, key: Any) -> tuple[np.ndarray, np.ndarray]:
    """Places of ``each`` examples of every label, and of all others."""
    order = np.asarray(random.permutation(key, len(labels)))
    few = np.concatenate([order[labels[order] == label][:each] for label in np.unique(labels)])
    return few, np.setdiff1d(order, few)


def starts(source: Any, key: Any) -> dict[str, tuple[Trainer, Any]]:
    """The three ways to learn: what trains, and from where."""
    for_head, for_scratch = random.split(key)
    fresh = mnist.init(for_scratch, MODEL)
    return {
        "transfer": (frozen, with_new_head(source, for_head)),
        "random": (frozen, with_new_head(fresh, for_head)),
        "scratch": (free, fresh),
    }


def train(
    *, epochs: int = 60, batch_size: int = 10, seed: int = 0, each: int = 3, draws: int = 5, source_epochs: int = 3,
    source_examples: int = 8000,
) -> programs.Result:  # fmt: skip
    """Trains on MNIST, then on three small digits of each kind (or the given number); the accuracy is that on all others."""
    source = mnist.train(model=MODEL, epochs=source_epochs, batch_size=64, examples=source_examples, seed=seed).model
    images, labels = data.digits()
    images = enlarged(images)
    whole = data.batches([images, labels], 500)
    print(f"the MNIST network as it is, on the small digits: {frozen.evaluate(source, whole)['accuracy']:.2%}")
    found: dict[str, list[float]] = {}
    fits = {}
    for draw in range(draws):
        for_split, for_starts, for_order = random.split(random.fold_in(random.key(seed), draw), 3)
        few, others = split(labels, each, for_split)
        for name, (loop, params) in starts(source, for_starts).items():
            fits[name] = loop.fit(
                params,
                lambda epoch: data.batches(
                    [images[few], labels[few]], batch_size, key=random.fold_in(for_order, epoch)
                ),
                epochs=epochs,
            )
            right = frozen.evaluate(fits[name].model, data.batches([images[others], labels[others]], 500))
            found.setdefault(name, []).append(right["accuracy"])
    for name, scores in found.items():
        print(
            f"{name:>9}: {np.mean(scores):.2%} of {len(labels) - 10 * each} digits, after {10 * each} with labels"
            f" ({draws} draws, {min(scores):.2%} to {max(scores):.2%})"
        )
    history = [{name: fit.history[i]["loss"] for name, fit in fits.items()} for i in range(epochs)]
    model = fits["transfer"].model
    kept = all(np.array_equal(a, b) for a, b in zip(fx.tree.leaves(source["conv"]), fx.tree.leaves(model["conv"])))
    measures = {name: float(np.mean(scores)) for name, scores in found.items()}
    hidden = fx.jit(lambda params, x: mnist.features(params, x).reshape(len(x), -1))(model, images[:500])
    return programs.Result(
        model, history, {**measures, "gain": measures["transfer"] - measures["scratch"], "frozen": float(kept)},
        {"features": hidden, "labels": labels[:500]},
    )  # fmt: skip


def figure(result: programs.Result) -> Any:
    """The training losses, and the small digits by the two main directions of the MNIST network's features."""
    drawn = viz.figure(13, 5)
    left, right = drawn.subfigures(1, 2)
    axes = left.subplots()
    for name in result.history[0]:
        axes.plot(range(1, len(result.history) + 1), [row[name] for row in result.history], label=name)
    axes.set(yscale="log", xlabel="epoch", ylabel="training loss")
    axes.legend()
    viz.scatter(np.asarray(viz.pca(fnp.asarray(result.shown["features"]), 2)), result.shown["labels"], on=right)
    return drawn


if __name__ == "__main__":
    programs.main(train)
