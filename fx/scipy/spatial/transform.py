"""``fx.scipy.spatial.transform``: rotations in three dimensions.

A rotation is a unit quaternion (x, y, z, w); q and -q are the same rotation.  ``a * b`` turns by b first, then by a.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import random
from ...config import config
from ...errors import (
    ArgumentError,
    DTypeError,
    ShapeError,
)
from ...numpy.core import as_value, promote_inexact
from ...trace import concrete_value
from ...tree import register_pytree_node_class
from ..special.core import Value

__all__ = ["Rotation", "Slerp"]


# ----------------------------------------------------------------------------------------- quaternions


def _floats(name: str, x: Any, *trailing: int) -> Value:
    """An array of floats whose last axes have these sizes."""
    (v,) = promote_inexact(as_value(x, f"the argument of {name}"))
    k = len(trailing)
    if v.shape[-k:] != trailing or v.ndim > k + 1:
        wanted = ", ".join(map(str, trailing))
        raise ShapeError(f"{name} takes an array of shape ({wanted},) or (n, {wanted}); found {v.shape}")
    return v


def _normalised(q: Value) -> Value:
    return q / fnp.sqrt(fnp.sum(q * q, axis=-1, keepdims=True))


def _product(a: Value, b: Value) -> Value:
    """Hamilton's product."""
    u, v, s, t = a[..., :3], b[..., :3], a[..., 3:], b[..., 3:]
    u, v = fnp.broadcast_arrays(u, v)
    vector = s * v + t * u + fnp.cross(u, v)
    return fnp.concatenate([vector, s * t - fnp.sum(u * v, axis=-1, keepdims=True)], axis=-1)


def _conjugate(q: Value) -> Value:
    return fnp.concatenate([-q[..., :3], q[..., 3:]], axis=-1)


def _safe_norm(v: Value) -> tuple[Value, Value]:
    """The length along the last axis (kept), with derivatives at 0, and whether it is small."""
    square = fnp.sum(v * v, axis=-1, keepdims=True)
    small = square < 1e-6
    return fnp.sqrt(fnp.where(small, 1, square)), small


def _from_rotvec(v: Value) -> Value:
    """sin(a / 2) / a = 1/2 - a^2 / 48 + a^4 / 3840 near 0."""
    square = fnp.sum(v * v, axis=-1, keepdims=True)
    angle, small = _safe_norm(v)
    near = fnp.where(small, square, 0)
    scale = fnp.where(small, 0.5 - near / 48 + near * near / 3840, fnp.sin(0.5 * angle) / angle)
    cosine = fnp.where(small, 1 - near / 8 + near * near / 384, fnp.cos(0.5 * angle))
    return fnp.concatenate([v * scale, cosine], axis=-1)


def _to_rotvec(q: Value) -> Value:
    """Of length at most pi."""
    q = fnp.where(q[..., 3:] < 0, -q, q)
    vector, w = q[..., :3], q[..., 3:]
    square = fnp.sum(vector * vector, axis=-1, keepdims=True)
    length, small = _safe_norm(vector)
    near = fnp.where(small, square, 0)
    half = fnp.where(small, 2 + near / 3 + 3 * near * near / 20, 2 * fnp.arctan2(length, w) / length)
    return vector * half


# one rotation by an angle about an axis, as a quaternion
_AXES = {"x": 0, "y": 1, "z": 2}


def _about(axis: int, angle: Value) -> Value:
    parts = [fnp.zeros_like(angle)] * 3
    parts[axis] = fnp.sin(0.5 * angle)
    return fnp.stack([*parts, fnp.cos(0.5 * angle)], axis=-1)


def _sequence(seq: str) -> tuple[list[int], bool]:
    """Axes by number, and whether they are fixed in space (small letters) or turn along (capitals)."""
    low = seq.lower()
    if not 1 <= len(seq) <= 3 or set(low) - set(_AXES) or seq not in (low, seq.upper()):
        raise ArgumentError(
            f"seq {seq!r} must be 1 to 3 of the letters xyz (axes fixed in space) or XYZ (turning along)"
        )
    if any(a == b for a, b in itertools.pairwise(low)):
        raise ArgumentError(f"seq {seq!r} has one axis twice in a row; make one angle of them")
    return [_AXES[c] for c in low], seq == low


@register_pytree_node_class
class Rotation:
    """A rotation, or several.

    Args:
        quat: unit quaternions (x, y, z, w), shape (4,) or (n, 4); ``from_quat`` normalises.

    >>> r = Rotation.from_euler("z", 90.0, degrees=True)
    >>> r.apply(fnp.array([1.0, 0.0, 0.0])).round(3)
    Array([0., 1., 0.], dtype=float32)
    """

    def __init__(self, quat: Any) -> None:
        self.quat = quat

    def tree_flatten(self) -> tuple[tuple[Any], None]:
        return (self.quat,), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> Rotation:
        return cls(*children)

    # ------------------------------------------------------------------------------------- making

    @classmethod
    def from_quat(cls, quat: Any) -> Rotation:
        """From quaternions (x, y, z, w) of any length but 0, shape (4,) or (n, 4)."""
        return cls(_normalised(_floats("Rotation.from_quat", quat, 4)))

    @classmethod
    def from_matrix(cls, matrix: Any) -> Rotation:
        """From orthogonal matrices of determinant 1, shape (3, 3) or (n, 3, 3).

        Of the four ways to read a quaternion off the matrix, the one that divides by the greatest number.
        """
        m = _floats("Rotation.from_matrix", matrix, 3, 3)
        trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
        rows = []
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            parts: list[Any] = [None] * 4
            parts[i] = 1 - trace + 2 * m[..., i, i]
            parts[j] = m[..., j, i] + m[..., i, j]
            parts[k] = m[..., k, i] + m[..., i, k]
            parts[3] = m[..., k, j] - m[..., j, k]
            rows.append(fnp.stack(parts, -1))
        skew = [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]]
        rows.append(fnp.stack([*skew, 1 + trace], -1))
        best = fnp.argmax(fnp.stack([m[..., 0, 0], m[..., 1, 1], m[..., 2, 2], trace], -1), axis=-1)[..., None]
        quat = rows[0]
        for i in (1, 2, 3):
            quat = fnp.where(best == i, rows[i], quat)
        return cls(_normalised(quat))

    @classmethod
    def from_rotvec(cls, rotvec: Any, degrees: bool = False) -> Rotation:
        """From vectors along the axis, as long as the angle, shape (3,) or (n, 3)."""
        v = _floats("Rotation.from_rotvec", rotvec, 3)
        return cls(_from_rotvec(fnp.deg2rad(v) if degrees else v))

    @classmethod
    def from_mrp(cls, mrp: Any) -> Rotation:
        """From modified Rodrigues parameters, vectors along the axis of length tan(angle / 4), shape (3,) or (n, 3)."""
        v = _floats("Rotation.from_mrp", mrp, 3)
        square = fnp.sum(v * v, axis=-1, keepdims=True)
        return cls(fnp.concatenate([2 * v, 1 - square], axis=-1) / (1 + square))

    @classmethod
    def from_euler(cls, seq: str, angles: Any, degrees: bool = False) -> Rotation:
        """From angles about axes in turn.

        Args:
            seq: 1 to 3 letters: 'xyz' are axes fixed in space, 'XYZ' axes that turn along.
            angles: one for each letter, shape (letters,) or (n, letters); for one letter also () or (n,).
            degrees: the angles are in degrees.

        Raises:
            ValueError: a sequence that does not exist.
            ShapeError: the angles do not fit.
        """
        axes, fixed = _sequence(seq)
        (a,) = promote_inexact(as_value(angles, "angles of Rotation.from_euler"))
        a = fnp.deg2rad(a) if degrees else a
        if len(axes) == 1 and a.ndim < 2:
            a = a.reshape(-1, 1) if a.ndim else a.reshape(1)
        if a.ndim not in (1, 2) or a.shape[-1] != len(axes):
            raise ShapeError(f"Rotation.from_euler: {seq!r} takes angles of shape (n, {len(axes)}); found {a.shape}")
        quat = _about(axes[0], a[..., 0])
        for i, axis in enumerate(axes[1:], start=1):
            turn = _about(axis, a[..., i])
            quat = _product(turn, quat) if fixed else _product(quat, turn)
        return cls(quat)

    @classmethod
    def identity(cls, num: int | None = None, dtype: Any = None) -> Rotation:
        """No rotation; ``num`` times."""
        one = fnp.array([0, 0, 0, 1], dtype=config.default_float if dtype is None or dtype is float else dtype)
        return cls(one if num is None else fnp.tile(one, (num, 1)))

    @classmethod
    def random(cls, random_key: Any, num: int | None = None) -> Rotation:
        """Uniformly distributed rotations: four normal numbers, normalised."""
        return cls(_normalised(random.normal(random_key, (4,) if num is None else (num, 4))))

    @classmethod
    def concatenate(cls, rotations: Sequence[Rotation]) -> Rotation:
        """Several in a row."""
        return cls(fnp.concatenate([fnp.atleast_2d(r.quat) for r in rotations]))

    # ------------------------------------------------------------------------------------ reading

    def as_quat(self, canonical: bool = False, scalar_first: bool = False) -> Value:
        """Unit quaternions (x, y, z, w).

        Args:
            canonical: of q and -q the one whose w, or else first other component that is not 0, is positive.
            scalar_first: in the order (w, x, y, z).
        """
        q = self.quat
        if canonical:
            x, y, z, w = (q[..., i : i + 1] for i in range(4))
            sign = fnp.where(w != 0, w, fnp.where(x != 0, x, fnp.where(y != 0, y, z)))
            q = fnp.where(sign < 0, -q, q)
        return fnp.roll(q, 1, axis=-1) if scalar_first else q

    def as_matrix(self) -> Value:
        """Matrices, shape (3, 3) or (n, 3, 3)."""
        x, y, z, w = (self.quat[..., i] for i in range(4))
        rows = [
            [x * x - y * y - z * z + w * w, 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), -x * x + y * y - z * z + w * w, 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), -x * x - y * y + z * z + w * w],
        ]
        return fnp.stack([fnp.stack(row, -1) for row in rows], -2)

    def as_rotvec(self, degrees: bool = False) -> Value:
        """Vectors along the axis, as long as the angle (at most pi)."""
        v = _to_rotvec(self.quat)
        return fnp.rad2deg(v) if degrees else v

    def as_mrp(self) -> Value:
        """Modified Rodrigues parameters, of length at most 1."""
        q = fnp.where(self.quat[..., 3:] < 0, -self.quat, self.quat)
        return q[..., :3] / (1 + q[..., 3:])

    def as_euler(self, seq: str, degrees: bool = False) -> Value:
        """Angles about three axes in turn; where the second makes the others undetermined, the third is 0.

        Args:
            seq: three letters, as for ``from_euler``.
            degrees: in degrees.

        Source: Bernardes and Viollet, "Quaternion to Euler angles conversion: a direct, general and computationally
        efficient method", PLoS ONE 17 (2022).
        """
        axes, fixed = _sequence(seq)
        if len(axes) != 3:
            raise ArgumentError(f"Rotation.as_euler: seq {seq!r} must have three letters")
        i, j, k = axes if fixed else axes[::-1]
        proper = i == k
        k = 3 - i - j if proper else k
        sign = (i - j) * (j - k) * (k - i) // 2
        q = self.quat
        a, b, c, d = q[..., 3], q[..., i], q[..., j], q[..., k] * sign
        if not proper:
            a, b, c, d = a - c, b + d, c + a, d - b
        middle = 2 * fnp.arctan2(fnp.hypot(c, d), fnp.hypot(a, b))
        half_sum, half_difference = fnp.arctan2(b, a), fnp.arctan2(d, c)
        bottom, top = fnp.abs(middle) < 1e-7, fnp.abs(middle - math.pi) < 1e-7
        first = half_sum - half_difference
        last = half_sum + half_difference
        locked_first = fnp.where(bottom, 2 * half_sum, 2 * half_difference * (-1 if fixed else 1))
        locked = bottom | top
        first, last = (last, first) if not fixed else (first, last)
        first = fnp.where(locked, locked_first, first)
        last = fnp.where(locked, 0, last)
        if not proper:
            turned = last if fixed else first
            turned = turned * sign
            first, last = (first, turned) if fixed else (turned, last)
            middle = middle - math.pi / 2
        angles = fnp.stack([first, middle, last], -1)
        angles = fnp.where(
            angles < -math.pi, angles + 2 * math.pi, fnp.where(angles > math.pi, angles - 2 * math.pi, angles)
        )
        return fnp.rad2deg(angles) if degrees else angles

    def magnitude(self) -> Value:
        """Angles, in [0, pi]."""
        vector = self.quat[..., :3]
        length, small = _safe_norm(vector)
        near = fnp.sqrt(fnp.sum(vector * vector, axis=-1))
        return 2 * fnp.arctan2(fnp.where(small[..., 0], near, length[..., 0]), fnp.abs(self.quat[..., 3]))

    # ----------------------------------------------------------------------------------- computing

    def apply(self, vectors: Any, inverse: bool = False) -> Value:
        """Turns vectors, shape (3,) or (n, 3); one rotation turns all, n rotations one each.

        Args:
            vectors: float array.
            inverse: turn back.
        """
        v = _floats("Rotation.apply", vectors, 3)
        matrix = self.as_matrix()
        matrix = fnp.swapaxes(matrix, -1, -2) if inverse else matrix
        return fnp.matmul(matrix, v[..., None])[..., 0]

    def inv(self) -> Rotation:
        """The rotation back."""
        return Rotation(_conjugate(self.quat))

    def __mul__(self, other: Rotation) -> Rotation:
        return Rotation(_product(self.quat, other.quat))

    def mean(self, weights: Any = None) -> Rotation:
        """The rotation with the least weighted sum of squared chordal distances to these.

        It is the eigenvector of the greatest eigenvalue of sum_i w_i q_i q_i^T.

        Source: Markley et al., "Averaging quaternions", J. Guid. Control Dyn. 30 (2007).
        """
        q = fnp.atleast_2d(self.quat)
        w = fnp.ones((q.shape[0],), q.dtype) if weights is None else as_value(weights).astype(q.dtype)
        if w.shape != q.shape[:1]:
            raise ShapeError(f"Rotation.mean: weights must have shape {q.shape[:1]}; found {w.shape}")
        _, vectors = fnp.linalg.eigh(fnp.einsum("n,ni,nj->ij", w, q, q))
        return Rotation(vectors[:, -1])

    @property
    def single(self) -> bool:
        """Whether this is one rotation and no array of them."""
        return self.quat.ndim == 1

    def __len__(self) -> int:
        if self.single:
            raise TypeError("a single Rotation has no len()")
        return self.quat.shape[0]

    def __getitem__(self, indexer: Any) -> Rotation:
        if self.single:
            raise TypeError("a single Rotation cannot be indexed")
        return Rotation(self.quat[indexer])

    def __repr__(self) -> str:
        return f"Rotation({self.quat!r})"


@register_pytree_node_class
class Slerp:
    """Rotations in between at constant speed; made by ``Slerp.init(times, rotations)``.

    >>> turn = Slerp.init(fnp.array([0.0, 1.0]), Rotation.from_euler("z", fnp.array([0.0, 90.0]), degrees=True))
    >>> fnp.rad2deg(turn(0.5).magnitude()).round(3)
    Array(45., dtype=float32)
    """

    def __init__(self, times: Any, timedelta: Any, rotations: Rotation, rotvecs: Any) -> None:
        self.times, self.timedelta, self.rotations, self.rotvecs = times, timedelta, rotations, rotvecs

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        return (self.times, self.timedelta, self.rotations, self.rotvecs), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> Slerp:
        return cls(*children)

    @classmethod
    def init(cls, times: Any, rotations: Rotation) -> Slerp:
        """The interpolation of rotations at given times.

        Args:
            times: strictly rising, shape (n,).
            rotations: n of them, n > 1.

        Raises:
            ShapeError: there are not as many times as rotations.
            ValueError: the times do not rise.
        """
        if not isinstance(rotations, Rotation):
            raise DTypeError(f"Slerp.init takes a Rotation; found {type(rotations).__name__}")
        (t,) = promote_inexact(as_value(times, "times of Slerp.init"))
        if rotations.single or t.shape != (len(rotations),) or len(rotations) < 2:
            raise ShapeError(
                f"Slerp.init: times of shape {t.shape} need as many rotations, at least 2; found quaternions {rotations.quat.shape}"
            )
        delta = t[1:] - t[:-1]
        known = concrete_value(delta)
        if known is not None and not (np.asarray(known) > 0).all():
            raise ArgumentError("Slerp.init: times must be strictly rising")
        return cls(t, delta, rotations[:-1], (rotations[:-1].inv() * rotations[1:]).as_rotvec())

    def __call__(self, times: Any) -> Rotation:
        """The rotations at times between the first and the last, shape () or (m,)."""
        (at,) = promote_inexact(as_value(times, "times"))
        i = fnp.clip(fnp.searchsorted(self.times, at, side="right").astype("int32") - 1, 0, self.timedelta.shape[0] - 1)
        share = ((at - self.times[i]) / self.timedelta[i])[..., None]
        return self.rotations[i] * Rotation.from_rotvec(self.rotvecs[i] * share)
