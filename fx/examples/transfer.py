"""What was learned on MNIST, reused on another data set with frozen layers.  ``python -m fx train transfer --help``.

A convolutional network is trained on MNIST (28 x 28).  Of the 8 x 8 digits of Alpaydin and Kaynak, other hands on another scanner, only
a few have labels; they are enlarged to what the network knows.  Then three ways to learn from these few:

* ``transfer``: the layers of the MNIST network stay as they are, and only a new last layer is trained;
* ``random``: the same with layers that were never trained;
* ``scratch``: a new network, all of it trained.

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

QUICK = {"epochs": 30, "source_epochs": 1, "source_examples": 2000}
LAST = {"conv": False, "dense": [False, True]}  # what is trained: a prefix of the tree of parameters


def enlarged(images: Any) -> Any:
    """8 x 8 images as MNIST's are: 20 x 20, in a frame of 4 empty pixels."""
    large = fx.jit(lambda x: image.resize(x, (len(x), 20, 20, 1), "bilinear"))(images)
    return np.pad(np.asarray(large), ((0, 0), (4, 4), (4, 4), (0, 0)))


def with_new_head(params: Any, key: Any) -> Any:
    """The parameters with a last layer that knows nothing."""
    return {**params, "dense": [params["dense"][0], mnist.init(key, "small")["dense"][1]]}


def trainer(trainable: Any) -> Trainer:
    """Loss and optimizer; what ``trainable`` says False to stays as it is."""
    return Trainer(mnist.plain_loss, optim.adam(3e-3), {"accuracy": mnist.accuracy}, trainable=trainable)


def train(
    *, epochs: int = 60, batch_size: int = 20, seed: int = 0, examples: int = 100, source_epochs: int = 3, source_examples: int = 8000
) -> programs.Result:  # fmt: skip
    """Trains on MNIST, then on 100 small digits (or the given number of them); the accuracy is that on the others."""
    for_source, for_head, for_scratch, for_order = random.split(random.key(seed), 4)
    source = mnist.train(epochs=source_epochs, batch_size=64, examples=source_examples, seed=seed).model
    images, labels = data.digits()
    order = np.asarray(random.permutation(for_source, len(labels)))
    images, labels = enlarged(images)[order], labels[order]
    few = data.Split(images[:examples], labels[:examples])
    others = data.batches([images[examples:], labels[examples:]], 500)
    fresh = mnist.init(for_scratch, "small")
    frozen, free = trainer(LAST), trainer(True)
    starts = {
        "transfer": (frozen, with_new_head(source, for_head)),
        "random": (frozen, with_new_head(fresh, for_head)),
        "scratch": (free, fresh),
    }
    print(f"the MNIST network as it is, on the small digits: {frozen.evaluate(source, others)['accuracy']:.2%}")
    fits = {}
    for name, (loop, params) in starts.items():
        fits[name] = loop.fit(
            params,
            lambda epoch: data.batches(few, batch_size, key=random.fold_in(for_order, epoch)),
            epochs=epochs,
        )
        measured = frozen.evaluate(fits[name].model, others)["accuracy"]
        fits[name].history[-1]["accuracy"] = measured
        print(f"{name:>9}: {measured:.2%} of {len(labels) - examples} digits, after {examples} with labels")
    measures = {name: fit.history[-1]["accuracy"] for name, fit in fits.items()}
    history = [{name: fit.history[i]["loss"] for name, fit in fits.items()} for i in range(epochs)]
    model = fits["transfer"].model
    kept = all(np.array_equal(a, b) for a, b in zip(fx.tree.leaves(source["conv"]), fx.tree.leaves(model["conv"])))
    hidden = fx.jit(lambda params, x: mnist.features(params, x).reshape(len(x), -1))(model, images[:500])
    return programs.Result(
        model, history, {**measures, "frozen": float(kept)}, {"features": hidden, "labels": labels[:500]}
    )


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
