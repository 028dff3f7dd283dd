"""``fx.viz``: what a network does, as arrays (attributions, embeddings) and as figures of matplotlib's (extra ``plot``).

>>> import numpy as np
>>> from fx import viz
>>> viz.saliency(lambda x: x @ np.array([[2.0], [-1.0]], np.float32), np.ones((1, 2), np.float32))
Array([[2., 1.]], dtype=float32)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..misnamed import no_attribute
from .attribution import grad_cam, integrated_gradients, occlusion, permutation_importance, saliency
from .embedding import pca, tsne
from .figures import (
    attention,
    bars,
    check_plot,
    confusion,
    curves,
    feature_maps,
    figure,
    filters,
    heat,
    images,
    save,
    scatter,
)

__all__ = [
    "attention", "bars", "check_plot", "confusion", "curves", "feature_maps", "figure", "filters", "grad_cam", "heat", "images",
    "integrated_gradients", "occlusion", "pca", "permutation_importance", "saliency", "save", "scatter", "tsne",
]  # fmt: skip

_ELSEWHERE = {
    "confusion_matrix": "confusion", "gradcam": "grad_cam", "image_grid": "images", "imshow": "images", "make_grid": "images",
    "plot_history": "curves", "savefig": "save", "t_sne": "tsne",
}  # fmt: skip

if not TYPE_CHECKING:  # a type checker says itself what is not there

    def __getattr__(name: str) -> None:
        raise no_attribute("fx.viz", name, __all__, _ELSEWHERE)
