"""Which training programs there are."""

from __future__ import annotations

__all__ = ["PROGRAMS"]

PROGRAMS = {
    "linear": "linear regression on the diabetes table, against its closed form",
    "logistic": "logistic regression on the breast cancer table, against Newton's method",
    "mlp": "a network of one hidden layer on handwritten digits",
    "mnist": "convolutional networks on handwritten digits",
    "lstm": "a recurrent network on two and a half centuries of sunspots, against autoregression",
    "transformer": "a character model of Python's documentation, against n-grams and xz",
    "attention": "dates as people write them, translated by a recurrent network with attention",
    "vae": "a variational autoencoder on handwritten digits",
    "gan": "digits made by a generator that learns to fool a discriminator",
    "transfer": "features learned on MNIST, reused on 8 x 8 digits of other hands",
    "tune": "hyperparameter search with sixteen networks in one compiled step",
}
"""Name on the command line, which is that of the module, and what it is."""
