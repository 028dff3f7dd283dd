"""``fx.image``: resampling of images (and of arrays of any number of dimensions) to another size.

Every output pixel is a weighted mean of input pixels, and the weights separate by axis: one product with a matrix for
each axis that changes.  Pixels are half-centred: pixel i covers [i, i + 1).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import dtypes
from . import numpy as fnp
from .errors import ShapeError
from .numpy.axes import canonical_axis, static_shape
from .numpy.core import as_type, as_typed, as_value, promote_inexact

__all__ = ["ResizeMethod", "resize", "scale_and_translate"]

Value = Any
_LEAST_TOTAL = 1000 * float(np.finfo(np.float32).eps)  # weights that add up to less are rounding, not an image


class ResizeMethod(enum.Enum):
    """How a pixel is made of its neighbours.

    NEAREST: the pixel itself.  LINEAR: a triangle of radius 1.  CUBIC: Keys' cubic, of radius 2.  CUBIC_PYTORCH: PyTorch's
    cubic, with the edges repeated (with antialiasing it is CUBIC).  LANCZOS3, LANCZOS5: a windowed sinc of that radius.
    AREA: the mean of all that the output pixel covers.
    """

    NEAREST = 0
    LINEAR = 1
    LANCZOS3 = 2
    LANCZOS5 = 3
    CUBIC = 4
    CUBIC_PYTORCH = 5
    AREA = 6

    @staticmethod
    def from_string(s: str) -> ResizeMethod:
        """The method of that name.

        Raises:
            ShapeError: there is none.
        """
        try:
            return _NAMES[s]
        except KeyError:
            raise ShapeError(f"there is no resize method {s!r}; there are {', '.join(_NAMES)}") from None


_NAMES = {
    "nearest": ResizeMethod.NEAREST, "linear": ResizeMethod.LINEAR, "bilinear": ResizeMethod.LINEAR, "trilinear": ResizeMethod.LINEAR,
    "triangle": ResizeMethod.LINEAR, "lanczos3": ResizeMethod.LANCZOS3, "lanczos5": ResizeMethod.LANCZOS5, "cubic": ResizeMethod.CUBIC,
    "bicubic": ResizeMethod.CUBIC, "tricubic": ResizeMethod.CUBIC, "cubic-pytorch": ResizeMethod.CUBIC_PYTORCH,
    "bicubic-pytorch": ResizeMethod.CUBIC_PYTORCH, "area": ResizeMethod.AREA,
}  # fmt: skip


# --------------------------------------------------------------------------------- kernels of a distance


def _triangle(x: Value) -> Value:
    return fnp.maximum(0, 1 - x)


def _cubic(a: float) -> Callable[[Value], Value]:
    """The piecewise cubic with slope ``a`` at distance 1 (Keys, "Cubic convolution interpolation", 1981)."""

    def kernel(x: Value) -> Value:
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return fnp.where(x >= 2, 0, fnp.where(x >= 1, far, near))

    return kernel


def _lanczos(radius: int) -> Callable[[Value], Value]:
    def kernel(x: Value) -> Value:
        turn = np.pi * fnp.where(x > 1e-3, x, 1)
        windowed = radius * fnp.sin(turn) * fnp.sin(turn / radius) / (turn * turn)
        return fnp.where(x > radius, 0, fnp.where(x > 1e-3, windowed, 1))

    return kernel


_KERNELS = {
    ResizeMethod.LINEAR: _triangle, ResizeMethod.CUBIC: _cubic(-0.5), ResizeMethod.CUBIC_PYTORCH: _cubic(-0.75),
    ResizeMethod.LANCZOS3: _lanczos(3), ResizeMethod.LANCZOS5: _lanczos(5),
}  # fmt: skip
_PYTORCH_RADIUS = 2


# ------------------------------------------------------------------------------------------- weights


def _normalised(weights: Value) -> Value:
    """Columns that add up to 1, or to 0 where there is no pixel."""
    total = fnp.sum(weights, axis=0, keepdims=True)
    enough = fnp.abs(total) > _LEAST_TOTAL
    return fnp.where(enough, weights / fnp.where(enough, total, 1), 0)


def _weights(m: int, n: int, scale: Value, shift: Value, method: ResizeMethod, antialias: bool) -> Value:
    """The matrix of shape (m, n) by which an axis of size m becomes one of size n."""
    d, step = scale.dtype, 1 / scale
    start = (fnp.arange(n, dtype=d) - shift) * step  # where output pixels begin, in input pixels
    centre = start + 0.5 * step - 0.5
    if method is ResizeMethod.AREA:
        left = fnp.arange(m, dtype=d)[:, None]
        weights = fnp.maximum(0, fnp.minimum(start + step, left + 1) - fnp.maximum(start, left))
    elif method is ResizeMethod.CUBIC_PYTORCH:
        k = _PYTORCH_RADIUS
        wide = _KERNELS[method](fnp.abs(centre - fnp.arange(-k, m + k, dtype=d)[:, None]))
        if m == 1:
            return _normalised(fnp.sum(wide, axis=0, keepdims=True))
        edges = [fnp.sum(part, axis=0, keepdims=True) for part in (wide[: k + 1], wide[k + m - 1 :])]
        return _normalised(fnp.concatenate([edges[0], wide[k + 1 : k + m - 1], edges[1]]))
    else:
        distance = fnp.abs(centre - fnp.arange(m, dtype=d)[:, None])
        weights = _KERNELS[method](distance / fnp.maximum(step, 1) if antialias else distance)
    return fnp.where((centre >= -0.5) & (centre <= m - 0.5), _normalised(weights), 0)


def _resampled(
    image: Value, shape: tuple[int, ...], axes: Sequence[int], scale: Value, shift: Value, method: ResizeMethod,
    antialias: bool,
) -> Value:  # fmt: skip
    if method is ResizeMethod.CUBIC_PYTORCH and antialias:
        method = ResizeMethod.CUBIC
    for i, axis in enumerate(axes):
        weights = _weights(image.shape[axis], shape[axis], scale[i], shift[i], method, antialias)
        image = fnp.moveaxis(fnp.tensordot(image, as_type(weights, image.dtype), ((axis,), (0,))), -1, axis)
    return image


def _checked(name: str, image: Any, shape: Any, method: Any) -> tuple[Value, tuple[int, ...], ResizeMethod]:
    image, shape = as_value(image, f"image of {name}"), static_shape(shape)
    if len(shape) != image.ndim:
        raise ShapeError(
            f"{name}: shape={shape} must have one size for each axis of the image, whose shape is {image.shape}"
        )
    return image, shape, ResizeMethod.from_string(method) if isinstance(method, str) else ResizeMethod(method)


def _weight_dtype(d: np.dtype) -> np.dtype:
    return dtypes.promote_types(dtypes.real_dtype(d), dtypes.float32)


def resize(image: Any, shape: Any, method: Any, antialias: bool = True, precision: Any = None) -> Value:
    """An image in another size.

    Args:
        image: array of any number of dimensions; integers become floats, but for "nearest".
        shape: of the result, one size for each axis of the image; axes that keep theirs are not touched.
        method: a ``ResizeMethod`` or its name: "nearest", "linear" (or "bilinear", "trilinear", "triangle"), "cubic"
            ("bicubic", "tricubic"), "cubic-pytorch", "lanczos3", "lanczos5", "area".
        antialias: widen the kernel where the image shrinks, so that every pixel counts.
        precision: accepted; products are always computed at full precision.

    >>> resize(fnp.array([0.0, 1.0, 2.0, 3.0]), (2,), "linear", antialias=False)
    Array([0.5, 2.5], dtype=float32)
    """
    image, shape, method = _checked("resize", image, shape, method)
    axes = [i for i in range(image.ndim) if image.shape[i] != shape[i]]
    if method is ResizeMethod.NEAREST:
        for i in axes:
            m, n = image.shape[i], shape[i]
            image = fnp.take(image, (2 * np.arange(n) + 1) * m // (2 * n) if n else np.arange(0), axis=i)
        return image
    (image,) = promote_inexact(image)
    ratios = np.array([shape[i] / image.shape[i] if shape[i] else 1.0 for i in axes], _weight_dtype(image.dtype))
    return _resampled(image, shape, axes, fnp.asarray(ratios), fnp.zeros(len(axes), ratios.dtype), method, antialias)


def scale_and_translate(
    image: Any, shape: Any, spatial_dims: Sequence[int], scale: Any, translation: Any, method: Any, antialias: bool = True,
    precision: Any = None,
) -> Value:  # fmt: skip
    """An image scaled and moved: the location x of the input comes to x * scale + translation; 0 beyond its edges.

    Differentiable in image, scale and translation.

    Args:
        shape: of the result, one size for each axis of the image.
        spatial_dims: the K axes along which it is scaled and moved.
        scale, translation: (K,).
        image, method, antialias, precision: as for ``resize``; there is no "nearest".

    >>> scale_and_translate(fnp.arange(4.0), (4,), (0,), fnp.ones(1), fnp.ones(1), "linear")
    Array([0., 0., 1., 2.], dtype=float32)
    """
    image, shape, method = _checked("scale_and_translate", image, shape, method)
    if method is ResizeMethod.NEAREST:
        raise ShapeError("scale_and_translate has no method 'nearest', whose weights have no derivative; take 'linear'")
    (image,) = promote_inexact(image)
    d, axes = _weight_dtype(image.dtype), [canonical_axis(i, image.ndim, "spatial_dims") for i in spatial_dims]
    scale, shift = as_typed(scale, d, "scale"), as_typed(translation, d, "translation")
    if scale.shape != (len(axes),) or shift.shape != (len(axes),):
        raise ShapeError(
            f"scale_and_translate: scale and translation need one number for each of the {len(axes)} spatial_dims;"
            f" found shapes {scale.shape} and {shift.shape}"
        )
    unmoved = [i for i in range(image.ndim) if i not in axes and image.shape[i] != shape[i]]
    if unmoved:
        raise ShapeError(f"scale_and_translate: axis {unmoved[0]} changes its size, so it must stand in spatial_dims")
    return _resampled(image, shape, axes, scale, shift, method, antialias)
