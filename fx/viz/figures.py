"""Figures of matplotlib's, each from plain arrays.  Nothing here touches pyplot: no window, no global state.

Every function returns the figure; ``on`` draws into one that is there, or a part of it (``figure.subfigures``).
"""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PlotError, ShapeError

__all__ = [
    "attention",
    "bars",
    "confusion",
    "curves",
    "feature_maps",
    "figure",
    "filters",
    "heat",
    "images",
    "save",
    "scatter",
]

FORMATS = (".png", ".pdf", ".svg", ".jpg")


def check_plot(path: str | Path) -> None:
    """Finds out before the work, not after it, that a figure cannot be drawn or saved.

    Raises:
        PlotError: matplotlib is missing, the folder is, or the name has another ending.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise PlotError("figures are drawn with matplotlib, which is not installed: pip install matplotlib")
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise PlotError(f"{path}: there is no folder {folder}")
    if Path(path).suffix.lower() not in FORMATS:
        raise PlotError(f"{path}: the name must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")


def figure(width: float, height: float) -> Any:
    """An empty figure of matplotlib's, in inches; as the result of a notebook's cell it is shown."""
    from matplotlib.figure import Figure  # an optional extra, and slow to import

    drawn = Figure(figsize=(width, height), layout="constrained")
    drawn._repr_png_ = lambda: _png(drawn)  # type: ignore[attr-defined]
    return drawn


def _png(drawn: Any) -> bytes:
    file = io.BytesIO()
    drawn.savefig(file, format="png", dpi=72)
    return file.getvalue()


def save(drawn: Any, path: str | Path) -> None:
    """Writes a figure to a file; the ending of the name chooses the format.

    >>> import pathlib, tempfile
    >>> from fx import viz
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.png"
    >>> viz.save(viz.confusion([[8, 1], [2, 9]]), path)
    >>> path.stat().st_size > 0
    True
    """
    check_plot(path)
    drawn.savefig(path, dpi=110)


def curves(history: Sequence[Mapping[str, float]], names: Iterable[str] | None = None, on: Any = None) -> Any:
    """The numbers of every epoch, training and validation in one panel.

    Args:
        history: as ``Trainer.fit`` returns it.
        names: which; None for all but seconds.

    >>> from fx import viz
    >>> viz.curves([{"loss": 2.1, "validation_loss": 2.2}, {"loss": 1.0, "validation_loss": 1.3}])
    <Figure size 600x260 with 1 Axes>
    """
    from matplotlib.ticker import LogFormatter  # an optional extra, and slow to import

    if not isinstance(history, Sequence) or not all(isinstance(row, Mapping) for row in history):
        raise PlotError(
            f"curves takes a history, a list with the numbers of each epoch by name (fit.history); found {history!r:.60}. Of one number:"
            " [{'loss': x} for x in losses]."
        )
    found = list(dict.fromkeys(n for row in history for n in row))
    wanted = [n for n in found if n not in ("seconds", "rate", "skipped")] if names is None else list(names)
    if unknown := [n for n in wanted if n not in found]:
        raise PlotError(f"curves: the history has no {', '.join(unknown)}; it has {', '.join(found) or 'nothing'}")
    groups: dict[str, list[str]] = {}
    for n in wanted:
        groups.setdefault(n.removeprefix("validation_"), []).append(n)
    drawn = on or figure(6, 2.6 * max(len(groups), 1))
    for axes, (title, members) in zip(np.atleast_1d(drawn.subplots(max(len(groups), 1), 1)), groups.items()):
        for name in members:
            points = [(i, row[name]) for i, row in enumerate(history, 1) if name in row]
            axes.plot(*zip(*points), marker="o", markersize=3, label=name.replace("_", " "))
        positive = all(row.get(m, 1) > 0 for row in history for m in members)
        axes.set(
            ylabel=title.replace("_", " "), yscale="log" if "loss" in title and positive else "linear", xlabel="epoch"
        )
        if axes.get_yscale() == "log":  # 0.6, not 6 x 10^-1
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter())
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(members) > 1:
            axes.legend()
    return drawn


def confusion(matrix: Any, names: Sequence[Any] | None = None, on: Any = None) -> Any:
    """How often each label (row) was predicted as each label (column).

    Args:
        matrix: (labels, labels) counts.
        names: of the labels; None for 0, 1, ...

    >>> from fx import viz
    >>> viz.confusion([[8, 1], [2, 9]], ["cat", "dog"])
    <Figure size 290x250 with 1 Axes>
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ShapeError(f"a confusion matrix is square, (labels, labels); found {counts.shape}")
    n = len(counts)
    if names is not None and len(names) != n:
        raise ShapeError(f"confusion takes a name for each of {n} labels; found {len(names)}")
    drawn = on or figure(2 + 0.45 * n, 1.6 + 0.45 * n)
    axes = drawn.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(n, n):
        if counts[i, j]:
            axes.text(
                j,
                i,
                f"{counts[i, j]:g}",
                ha="center",
                va="center",
                color="w" if shares[i, j] > 0.5 else "k",
                fontsize=8,
            )
    shown = [str(x) for x in (range(n) if names is None else names)]
    axes.set(xticks=range(n), yticks=range(n), xticklabels=shown, yticklabels=shown, xlabel="predicted", ylabel="true")
    return drawn


def images(
    grid: Any, titles: Sequence[str] | None = None, columns: int = 8, cmap: str = "gray_r", on: Any = None
) -> Any:
    """Images beside each other.

    Args:
        grid: (n, height, width), (n, height, width, 1) or (n, height, width, 3).
        titles: one for each.
        columns: images in a row.

    >>> import numpy as np
    >>> from fx import viz
    >>> viz.images(np.zeros((3, 8, 8)), ["a", "b", "c"])
    <Figure size 880x130 with 8 Axes>
    """
    shown = np.asarray(grid)
    if shown.ndim == 4 and shown.shape[3] == 1:
        shown = shown[..., 0]
    if shown.ndim != 3 and not (shown.ndim == 4 and shown.shape[3] in (3, 4)):
        raise ShapeError(
            f"images takes (n, height, width) or (n, height, width, channels: 1, 3 or 4); found {shown.shape}"
        )
    rows = max(math.ceil(len(shown) / columns), 1)
    drawn = on or figure(1.1 * columns, (1.3 if titles else 1.1) * rows)
    for i, axes in enumerate(drawn.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < len(shown):
            axes.imshow(shown[i], cmap=cmap)
            if titles is not None:
                axes.set_title(titles[i], fontsize=8)
    return drawn


def filters(weights: Any, columns: int = 8, on: Any = None) -> Any:
    """The kernels of a convolution, one image for each output channel, averaged over input channels unless these are 3.

    Args:
        weights: (height, width, in, out).
    """
    w = np.asarray(weights, np.float32)
    if w.ndim != 4:
        raise ShapeError(f"filters takes the kernel of a convolution, (height, width, in, out); found {w.shape}")
    low, high = w.min(), w.max()
    scaled = np.moveaxis((w - low) / max(high - low, 1e-12), 3, 0)
    return images(scaled if w.shape[2] == 3 else scaled.mean(axis=3), columns=columns, cmap="gray", on=on)


def feature_maps(maps: Any, columns: int = 8, on: Any = None) -> Any:
    """The channels of one example's features, (height, width, channels), or of a batch's first."""
    x = np.asarray(maps)
    x = x[0] if x.ndim == 4 else x
    if x.ndim != 3:
        raise ShapeError(f"feature_maps takes (height, width, channels); found {x.shape}")
    return images(np.moveaxis(x, 2, 0), columns=columns, cmap="viridis", on=on)


def attention(
    weights: Any, queries: Sequence[Any] | None = None, keys: Sequence[Any] | None = None, on: Any = None
) -> Any:
    """Who looks at whom: rows are queries, columns keys; several heads side by side.

    Args:
        weights: (queries, keys) or (heads, queries, keys).
        queries, keys: names, such as the characters of two texts.
    """
    w = np.asarray(weights)
    w = w[None] if w.ndim == 2 else w
    if w.ndim != 3:
        raise ShapeError(f"attention takes (queries, keys) or (heads, queries, keys); found {w.shape}")
    drawn = on or figure(1 + (1 + 0.22 * w.shape[2]) * len(w), 1.2 + 0.22 * w.shape[1])
    for head, axes in zip(w, drawn.subplots(1, len(w), squeeze=False)[0]):
        axes.imshow(head, cmap="viridis", aspect="auto")
        for names, place in ((keys, "x"), (queries, "y")):
            if names is not None:
                axes.set(**{f"{place}ticks": range(len(names)), f"{place}ticklabels": [str(n) for n in names]})
        axes.set(xlabel="keys", ylabel="queries")
    return drawn


def scatter(points: Any, labels: Any = None, on: Any = None) -> Any:
    """Points in two dimensions (``pca``, ``tsne``), coloured by label.

    Args:
        points: (n, 2).
        labels: (n,); None for one colour.

    Raises:
        ShapeError: the points have another shape.

    >>> import numpy as np
    >>> from fx import viz
    >>> viz.scatter(np.eye(2), ["first", "second"])
    <Figure size 600x500 with 1 Axes>
    """
    p = np.asarray(points)
    if p.ndim != 2 or p.shape[1] != 2:
        raise ShapeError(f"scatter takes (points, 2); found {p.shape}")
    drawn = on or figure(6, 5)
    axes = drawn.subplots()
    kinds = np.zeros(len(p)) if labels is None else np.asarray(labels)
    for kind in np.unique(kinds):
        axes.scatter(*p[kinds == kind].T, s=8, label=str(kind))
    if labels is not None:
        axes.legend(markerscale=2, fontsize=8)
    return drawn


def heat(pictures: Any, maps: Any, titles: Sequence[str] | None = None, columns: int = 6, on: Any = None) -> Any:
    """Attributions over the images that they explain; positive red, negative blue.

    Args:
        pictures: (n, height, width) or (n, height, width, channels).
        maps: (n, h, w) or (n, h, w, channels), summed over channels and stretched over the image.
    """
    under, over = np.asarray(pictures), np.asarray(maps)
    under = under.mean(axis=3) if under.ndim == 4 else under
    over = over.sum(axis=3) if over.ndim == 4 else over
    if under.ndim != 3 or over.ndim != 3 or len(under) != len(over):
        raise ShapeError(f"heat takes as many maps as images; found {np.shape(pictures)} and {np.shape(maps)}")
    rows = max(math.ceil(len(under) / columns), 1)
    drawn = on or figure(1.4 * columns, 1.6 * rows)
    for i, axes in enumerate(drawn.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < len(under):
            extent, limit = (0, under.shape[2], under.shape[1], 0), max(float(np.abs(over[i]).max()), 1e-12)
            axes.imshow(under[i], cmap="gray_r", extent=extent)
            axes.imshow(over[i], cmap="bwr", extent=extent, vmin=-limit, vmax=limit, alpha=0.6)
            if titles is not None:
                axes.set_title(titles[i], fontsize=8)
    return drawn


def bars(values: Any, names: Sequence[Any], on: Any = None) -> Any:
    """Importances: the mean of every row of ``values`` (columns, repeats) with its standard deviation, greatest on top."""
    v = np.asarray(values)
    v = v[:, None] if v.ndim == 1 else v
    if len(v) != len(names):
        raise ShapeError(f"bars takes a name for each row; found {len(v)} rows and {len(names)} names")
    order = np.argsort(v.mean(axis=1))
    drawn = on or figure(6, 1 + 0.28 * len(v))
    axes = drawn.subplots()
    axes.barh([str(names[i]) for i in order], v.mean(axis=1)[order], xerr=v.std(axis=1)[order])
    axes.grid(alpha=0.3, axis="x")
    return drawn
