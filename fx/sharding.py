"""``fx.sharding``: where arrays are, for programs that spread their work over a mesh of devices.

There is one device, the CPU, and every array is in its memory.  A ``Mesh`` names the axes along which a program cuts its
work all the same: at each of its positions stands the CPU.  ``NamedSharding`` and ``PartitionSpec`` describe how arrays would
be cut, and are accepted wherever JAX takes them; what computes with the axes is ``fx.shard_map``, with the collectives of
``fx.lax`` over as many positions as the mesh has.

>>> import fx
>>> mesh = fx.make_mesh((2,), ("data",))
>>> fx.sharding.NamedSharding(mesh, fx.P("data")).shard_shape((8, 3))
(4, 3)
"""

from __future__ import annotations

import contextlib
import enum
import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from . import tree
from .array import CPU, Array, Device, SingleDeviceSharding
from .errors import ArgumentError, ShapeError
from .numpy.core import as_value

__all__ = [
    "AbstractMesh", "AxisType", "Mesh", "NamedSharding", "P", "PartitionSpec", "Sharding", "SingleDeviceSharding", "get_abstract_mesh",
    "get_mesh", "make_array_from_callback", "make_array_from_process_local_data", "make_array_from_single_device_arrays", "make_mesh",
    "reshard", "set_mesh", "use_abstract_mesh", "use_mesh", "with_sharding_constraint",
]  # fmt: skip


class AxisType(enum.Enum):
    """Who decides how an array is cut along an axis of a mesh: here nobody has to, and all are the same."""

    Auto = enum.auto()
    Explicit = enum.auto()
    Manual = enum.auto()

    def __repr__(self) -> str:
        return self.name


class _Unconstrained:
    def __repr__(self) -> str:
        return "UNCONSTRAINED"


def _partition(p: Any) -> Any:
    """How one dimension is cut, written in one way: ``("x",)`` is "x", an empty tuple None."""
    if not isinstance(p, (tuple, list)):
        return p or None
    return p[0] if len(p) == 1 else tuple(p) or None


class PartitionSpec:
    """Along which mesh axes each dimension of an array is cut: a name, a tuple of names (the first varies slowest), or None.

    Dimensions that are not given are not cut.

    >>> PartitionSpec("data", None, ("x", "y"))
    P('data', None, ('x', 'y'))
    """

    UNCONSTRAINED = _Unconstrained()
    platform = CPU.platform

    __slots__ = ("partitions", "reduced", "unreduced")

    def __init__(self, *partitions: Any, unreduced: Any = frozenset(), reduced: Any = frozenset()) -> None:
        self.partitions = tuple(map(_partition, partitions))
        self.unreduced, self.reduced = frozenset(unreduced), frozenset(reduced)
        names = [n for p in self.partitions for n in names_of(p)]
        if len(set(names)) < len(names):
            raise ArgumentError(f"{self!r} cuts two dimensions along one axis of the mesh")

    def __iter__(self) -> Iterator[Any]:
        return iter(self.partitions)

    def __len__(self) -> int:
        return len(self.partitions)

    def __getitem__(self, i: Any) -> Any:
        return self.partitions[i]

    def index(self, partition: Any) -> int:
        """The first dimension that is cut so; ValueError if none is."""
        return self.partitions.index(_partition(partition))

    def count(self, partition: Any) -> int:
        """How many dimensions are cut so."""
        return self.partitions.count(_partition(partition))

    def __add__(self, other: Any) -> PartitionSpec:
        return PartitionSpec(*self, *other)

    def __radd__(self, other: Any) -> PartitionSpec:
        return PartitionSpec(*other, *self)

    def _key(self) -> tuple[Any, ...]:
        return self.partitions, self.unreduced, self.reduced

    def __eq__(self, other: object) -> bool:
        return type(other) is PartitionSpec and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> Any:
        return PartitionSpec, self.partitions

    def __repr__(self) -> str:
        return f"P({', '.join(map(repr, self.partitions))}{',' * (len(self) == 1)})"


P = PartitionSpec


def names_of(entry: Any) -> tuple[Any, ...]:
    """The mesh axes along which one dimension is cut."""
    if entry is None or entry is PartitionSpec.UNCONSTRAINED:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


class AbstractMesh:
    """The axes of a mesh: their sizes, names and types."""

    def __init__(
        self, axis_sizes: Sequence[int], axis_names: Sequence[Hashable], axis_types: Any = None, **_: Any
    ) -> None:
        self.axis_sizes, self.axis_names = tuple(int(n) for n in axis_sizes), tuple(axis_names)
        if len(self.axis_sizes) != len(self.axis_names) or len(set(self.axis_names)) < len(self.axis_names):
            raise ArgumentError(
                f"a mesh has a name of its own for each axis; found sizes {self.axis_sizes} and names {self.axis_names}"
            )
        types = axis_types if isinstance(axis_types, (tuple, list)) else (axis_types,) * len(self.axis_names)
        self.axis_types = tuple([t or AxisType.Auto for t in types])

    @property
    def shape(self) -> OrderedDict[Any, int]:
        """The size of each axis by its name."""
        return OrderedDict(zip(self.axis_names, self.axis_sizes))

    @property
    def shape_tuple(self) -> tuple[tuple[Any, int], ...]:
        """Pairs of a name and a size."""
        return tuple(zip(self.axis_names, self.axis_sizes))

    @property
    def size(self) -> int:
        """The number of positions; of a mesh without axes 0, as it has no device."""
        return math.prod(self.axis_sizes) if self.axis_names else 0

    @property
    def empty(self) -> bool:
        """Whether it has no axis: no mesh is set."""
        return not self.axis_names

    @property
    def abstract_mesh(self) -> AbstractMesh:
        return AbstractMesh(self.axis_sizes, self.axis_names, self.axis_types)

    def of_type(self, kind: AxisType) -> tuple[Any, ...]:
        return tuple([n for n, t in zip(self.axis_names, self.axis_types) if t is kind])

    auto_axes = property(lambda self: self.of_type(AxisType.Auto))
    explicit_axes = property(lambda self: self.of_type(AxisType.Explicit))
    manual_axes = property(lambda self: self.of_type(AxisType.Manual))

    def all_of_type(self, kind: AxisType) -> bool:
        """Whether there are axes, and all of them are of a type."""
        return not self.empty and all(t is kind for t in self.axis_types)

    are_all_axes_auto = property(lambda self: self.all_of_type(AxisType.Auto))
    are_all_axes_explicit = property(lambda self: self.all_of_type(AxisType.Explicit))
    are_all_axes_manual = property(lambda self: self.all_of_type(AxisType.Manual))

    def _key(self) -> Any:
        return self.axis_sizes, self.axis_names, self.axis_types

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        axes = [f"{n!r}: {s}" for n, s in self.shape.items()]
        return f"{type(self).__name__}({', '.join([*axes, f'axis_types={self.axis_types!r}'])})"


class Mesh(AbstractMesh):
    """Positions along named axes, at each of which stands the CPU.

    Args:
        devices: array of devices, one for each position: the CPU, as often as there are positions.
        axis_names: a name for each axis of ``devices``.

    >>> import fx, numpy as np
    >>> mesh = Mesh(np.array(fx.devices()).reshape(1, 1), ("data", "model"))
    >>> mesh.shape["model"], mesh.size
    (1, 1)
    """

    def __init__(self, devices: Any, axis_names: Any, axis_types: Any = None) -> None:
        self.devices = np.asarray(devices, object)
        if any(not isinstance(d, Device) for d in self.devices.flat):
            raise ArgumentError(f"Mesh takes an array of devices (fx.devices()); found {devices!r}")
        names = (axis_names,) if isinstance(axis_names, str) else axis_names
        super().__init__(self.devices.shape, names, axis_types)

    @property
    def device_ids(self) -> np.ndarray:
        """The id of the device at each position."""
        return np.reshape([d.id for d in self.devices.flat], self.devices.shape).astype(int)

    @property
    def local_mesh(self) -> Mesh:
        """The part of this process: all."""
        return self

    @property
    def local_devices(self) -> list[Device]:
        return list(self.devices.flat)

    is_multi_process = False

    def __enter__(self) -> Mesh:
        _current.meshes.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _current.meshes.pop()


class _Current(threading.local):
    """The meshes that a thread has set, innermost last."""

    def __init__(self) -> None:
        self.meshes: list[AbstractMesh] = []


_current = _Current()


def make_mesh(
    axis_shapes: Sequence[int], axis_names: Sequence[str], axis_types: Any = None, *, devices: Any = None
) -> Mesh:
    """A mesh of these sizes and names.

    In JAX each position needs a device; here the CPU stands at all of them, so that a program for eight devices runs.

    >>> make_mesh((4, 2), ("data", "model"))
    Mesh('data': 4, 'model': 2, axis_types=(Auto, Auto))
    """
    given = [CPU] * math.prod(axis_shapes) if devices is None else list(devices)
    if len(given) != math.prod(axis_shapes):
        raise ArgumentError(
            f"make_mesh: {tuple(axis_shapes)} has {math.prod(axis_shapes)} positions; found {len(given)} devices"
        )
    at = np.empty(len(given), object)
    at[:] = given
    return Mesh(at.reshape(axis_shapes), tuple(axis_names), axis_types)


class set_mesh:
    """Sets the mesh that ``shard_map`` and ``get_mesh`` take; as a context manager, for its block."""

    def __init__(self, mesh: AbstractMesh | None) -> None:
        self.before = list(_current.meshes)
        self.mesh = mesh
        _current.meshes = [*self.before, mesh] if mesh is not None else []

    def __enter__(self) -> AbstractMesh | None:
        return self.mesh

    def __exit__(self, *_: Any) -> None:
        _current.meshes = self.before


use_mesh = set_mesh


@contextlib.contextmanager
def use_abstract_mesh(mesh: AbstractMesh) -> Iterator[AbstractMesh]:
    """Context manager: sets a mesh for its block."""
    with set_mesh(mesh):
        yield mesh


def get_mesh() -> AbstractMesh:
    """The mesh that is set; one without axes (``mesh.empty``) where none is."""
    return _current.meshes[-1] if _current.meshes else AbstractMesh((), ())


def get_abstract_mesh() -> AbstractMesh:
    """The axes of the mesh that is set."""
    return get_mesh().abstract_mesh


class _ShardingType(type):
    """``isinstance(x.sharding, Sharding)`` is true of the sharding of every array."""

    def __instancecheck__(cls, x: Any) -> bool:
        return type.__instancecheck__(cls, x) or (cls is Sharding and isinstance(x, SingleDeviceSharding))


class Sharding(metaclass=_ShardingType):
    """How an array is cut: what ``NamedSharding`` and ``SingleDeviceSharding`` are."""


class NamedSharding(Sharding):
    """An array cut along the axes of a mesh, as a ``PartitionSpec`` says: accepted by ``device_put``, ``jit`` and the rest.

    Args:
        mesh: the mesh.
        spec: its ``PartitionSpec``.
    """

    platform = CPU.platform
    is_fully_addressable = has_addressable_devices = True

    def __init__(self, mesh: AbstractMesh, spec: PartitionSpec, *, memory_kind: str | None = None, **_: Any) -> None:
        spec = spec if isinstance(spec, PartitionSpec) else PartitionSpec(*spec)
        unknown = [n for p in spec for n in names_of(p) if n not in mesh.axis_names]
        if unknown:
            raise ArgumentError(f"{spec} names the axis {unknown[0]!r}; those of the mesh are {mesh.axis_names}")
        self.mesh, self.spec, self.memory_kind = mesh, spec, memory_kind or "device"

    @property
    def num_devices(self) -> int:
        return self.mesh.size

    @property
    def is_fully_replicated(self) -> bool:
        """Whether it is not cut at all."""
        return all(self.mesh.shape[n] == 1 for p in self.spec for n in names_of(p))

    @property
    def device_set(self) -> set[Device]:
        return {CPU}

    addressable_devices = device_set

    def shard_shape(self, global_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the part at each position.

        Raises:
            ShapeError: a dimension is not divisible by the size of what it is cut along.
        """
        return tuple([n // k for n, k in zip(global_shape, parts(self.spec, global_shape, self.mesh, "the array"))])

    def is_equivalent_to(self, other: Any, ndim: int) -> bool:
        """Whether arrays of ``ndim`` dimensions are cut in the same way."""
        if isinstance(other, SingleDeviceSharding):
            return self.is_fully_replicated
        padded = [(*s.spec, *(None,) * (ndim - len(s.spec))) for s in (self, other)]
        return self.mesh.shape == other.mesh.shape and padded[0] == padded[1]

    def update(self, **changes: Any) -> NamedSharding:
        """The same with another mesh, spec or memory kind."""
        d = {"mesh": self.mesh, "spec": self.spec, "memory_kind": self.memory_kind, **changes}
        return NamedSharding(d["mesh"], d["spec"], memory_kind=d["memory_kind"])

    def with_memory_kind(self, kind: str) -> NamedSharding:
        return self.update(memory_kind=kind)

    def __eq__(self, other: object) -> bool:
        return type(other) is NamedSharding and self.mesh == other.mesh and self.spec == other.spec

    def __hash__(self) -> int:
        return hash((self.mesh, self.spec))

    def __repr__(self) -> str:
        return f"NamedSharding(mesh={self.mesh!r}, spec={self.spec!r}, memory_kind={self.memory_kind})"


@functools.cache
def uncut(ndim: int) -> NamedSharding:
    """That of a value of ``ndim`` dimensions of which nobody has said how it is cut."""
    return NamedSharding(AbstractMesh((), ()), PartitionSpec(*[None] * ndim))


def parts(spec: PartitionSpec, shape: Sequence[int], mesh: AbstractMesh, what: str) -> list[int]:
    """Into how many parts each dimension of an array of ``shape`` is cut.

    Raises:
        ShapeError: there are fewer dimensions than the spec says, or one cannot be cut evenly.
    """
    if len(spec) > len(shape):
        raise ShapeError(f"{spec} is for {len(spec)} dimensions or more; {what} has the shape {tuple(shape)}")
    counts = [math.prod([mesh.shape[n] for n in names_of(p)]) for p in spec]
    for d, (n, k) in enumerate(zip(shape, counts)):
        if n % k:
            raise ShapeError(
                f"{spec} cuts dimension {d} of {what} into {k} parts; its size {n} is not divisible by {k}"
            )
    return [*counts, *[1] * (len(shape) - len(counts))]


def with_sharding_constraint(x: Any, shardings: Any) -> Any:
    """``x``: an array is whole, on the one device.  What it says is checked: the axes of the mesh, and that they divide the shape.

    Args:
        x: a pytree of arrays.
        shardings: a sharding or ``PartitionSpec`` (of the mesh that is set) for all, or a prefix of the tree.
    """
    leaves = tree.leaves(x)
    for v, s in zip(leaves, tree.broadcast_prefix(shardings, x, is_leaf=lambda s: s is None, what="shardings")):
        if isinstance(s, PartitionSpec):
            s = None if get_mesh().empty else NamedSharding(get_mesh(), s)
        if isinstance(s, NamedSharding):
            s.shard_shape(np.shape(v))
    return x


def reshard(xs: Any, out_shardings: Any) -> Any:
    """``xs``: see ``with_sharding_constraint``."""
    return with_sharding_constraint(xs, out_shardings)


def make_array_from_callback(
    shape: Sequence[int], sharding: Any, data_callback: Callable[[Any], Any], dtype: Any = None
) -> Array:
    """The array whose whole contents are ``data_callback(index)``, the index being that of all of it."""
    index = (slice(None),) * len(shape)
    return _whole(as_value(data_callback(index)), shape, dtype)


def make_array_from_single_device_arrays(
    shape: Sequence[int], sharding: Any, arrays: Sequence[Any], *, dtype: Any = None
) -> Array:
    """The array of which one device has a part: the CPU all."""
    if len(arrays) != 1:
        raise ArgumentError(f"there is one device, which holds the whole array; found {len(arrays)} parts")
    return _whole(as_value(arrays[0]), shape, dtype)


def make_array_from_process_local_data(sharding: Any, local_data: Any, global_shape: Any = None) -> Array:
    """The array of which one process has a part: this one all."""
    return _whole(as_value(local_data), np.shape(local_data) if global_shape is None else global_shape, None)


def _whole(x: Any, shape: Sequence[int], dtype: Any) -> Any:
    if tuple(x.shape) != tuple(shape):
        raise ShapeError(
            f"an array of shape {tuple(shape)} was announced; its contents have the shape {tuple(x.shape)}"
        )
    return x if dtype is None else x.astype(dtype)
