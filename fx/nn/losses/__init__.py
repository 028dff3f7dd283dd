"""``fx.nn.losses``: what training makes small.  All of them stand directly under ``fx.nn`` too.

Common to all:

* ``reduction``: ``"mean"`` (the default), ``"sum"`` or ``"none"`` (one value per example, or element).
* ``weights``: of the examples (first axis, or axes), or of the elements (a size of 1 stands for all); the mean is then
  sum(w * loss) / sum(w). A weight of 0 takes an example out: its label and its numbers may be anything, NaN too (padding).
* Floats of 16 bits are computed, and returned, in float32.
* Shapes must agree: predictions of shape (32, 1) beside targets of shape (32,) raise, they do not broadcast to (32, 32).
* A label outside the classes raises ``LabelError`` where its value is known; inside compiled code the loss of that example
  is NaN (``fx.debug_nans`` finds it).
"""

from __future__ import annotations

from .classification import bce_with_logits, cross_entropy, focal, hinge, kl_divergence, multiclass_hinge
from .ctc import ctc
from .distances import cosine, hinge_embedding, margin_ranking, triplet
from .regression import gaussian_nll, huber, log_cosh, mae, mse, poisson_nll

__all__ = [
    "bce_with_logits", "cosine", "cross_entropy", "ctc", "focal", "gaussian_nll", "hinge", "hinge_embedding", "huber", "kl_divergence",
    "log_cosh", "mae", "margin_ranking", "mse", "multiclass_hinge", "poisson_nll", "triplet",
]  # fmt: skip
