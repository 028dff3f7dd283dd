"""``fx.Array``: an immutable array over a NumPy buffer.

The array API standard asks for ``x[index] = value``, and a third of the functions of SciPy and scikit-learn that take its
arrays use it.  With ``fx.config.array_api`` it gives ``x`` another buffer: whoever holds the old one (a view, a graph that
recorded it, another array) keeps what it had.

The arithmetic, indexing and methods (``+``, ``x[1:]``, ``x.sum()``, ``x.at[...]``) are installed by
``fx.numpy``, on arrays and tracers alike; this module holds what needs no mathematics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import finalize

import numpy as np

from . import tree
from .dtypes import SUPPORTED, canonical
from .elsewhere import no_method
from .errors import (
    ArgumentError,
    DeletedArrayError,
    DTypeError,
    ItemAssignmentError,
)
from .ir import Aval, aval_of_array

__all__ = ["CPU", "Array", "Device", "Shard", "SingleDeviceSharding", "aligned_copy", "check_device", "to_numpy"]

_LINE = 64  # bytes of a line of the caches
_ALIGNED_FROM = 1 << 14  # bytes; smaller copies lie where NumPy puts them


class Device:
    """The CPU."""

    id = 0
    local_hardware_id = 0
    process_index = 0
    platform = "cpu"
    device_kind = "cpu"
    host_id = 0

    def __repr__(self) -> str:
        return "CpuDevice(id=0)"

    def memory_stats(self) -> None:
        """None: the memory is the process's."""


CPU = Device()


@dataclass(frozen=True, eq=False)
class Shard:
    """What a device holds of an array: ``data``, the part at ``index``.  The one device holds all of it."""

    data: Array
    index: tuple[slice, ...]
    device: Device = CPU
    replica_id: int = 0


class SingleDeviceSharding:
    """Where every array is: whole, on the one device.  ``x.sharding``, for programs that ask."""

    __slots__ = ()
    platform = "cpu"
    memory_kind = "device"
    num_devices = 1
    is_fully_addressable = is_fully_replicated = has_addressable_devices = True

    def __init__(self, device: Any = None, *, memory_kind: str | None = None) -> None:
        check_device(device)

    @property
    def device_set(self) -> set[Device]:
        """The devices: the CPU."""
        return {CPU}

    addressable_devices = device_set

    def shard_shape(self, global_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the part that a device holds: that of the array."""
        return tuple(global_shape)

    def devices_indices_map(self, global_shape: tuple[int, ...]) -> dict[Device, tuple[slice, ...]]:
        """Which part of an array each device holds: the CPU all of it."""
        return {CPU: (slice(None),) * len(global_shape)}

    addressable_devices_indices_map = devices_indices_map

    def is_equivalent_to(self, other: Any, ndim: int) -> bool:
        """Whether arrays of ``ndim`` axes lie in the same way."""
        return self == other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SingleDeviceSharding)

    def __hash__(self) -> int:
        return hash(SingleDeviceSharding)

    def __repr__(self) -> str:
        return f"SingleDeviceSharding(device={CPU!r}, memory_kind={self.memory_kind})"


def check_device(device: Any, what: str = "device") -> None:
    """Accepts None, "cpu", the CPU and ``x.sharding``, or a pytree of them.

    Raises:
        ArgumentError: for anything else.
    """
    if device is None:
        return
    for d in tree.leaves(device):
        if d != CPU.platform and getattr(d, "platform", None) != CPU.platform:
            raise ArgumentError(f"{what}={d!r}: there is one device, 'cpu'. Leave the argument out, or pass 'cpu'.")


if TYPE_CHECKING:
    from .array_methods import ArrayMethods as _Methods
else:
    _Methods = object


def _stays(memory: np.ndarray | None) -> None:
    """Does nothing: until it is called, with the end of an object, it keeps the memory that the object has had."""


class _ArrayType(type):
    """``isinstance(x, Array)`` is true of a traced value too, which stands for an array: programs for JAX ask so."""

    def __instancecheck__(cls, x: Any) -> bool:
        return type.__instancecheck__(cls, x) or getattr(type(x), "stands_for_array", False)


def aligned_copy(x: np.ndarray) -> np.ndarray:
    """A copy, in the order of ``x`` in memory; a large one begins at the start of a cache line.

    Where it does not, every vector that a kernel reads as wide as a line takes two of them.
    """
    if x.nbytes < _ALIGNED_FROM or not (x.flags.c_contiguous or x.flags.f_contiguous) or x.dtype.hasobject:
        return np.array(x)
    block = np.empty(x.nbytes + _LINE, np.uint8)
    start = -block.__array_interface__["data"][0] % _LINE
    made: np.ndarray = np.ndarray(x.shape, x.dtype, block, start, order="C" if x.flags.c_contiguous else "F")
    made[...] = x
    return made


class Array(_Methods, metaclass=_ArrayType):
    """An immutable n-dimensional array.

    Made by ``fx.numpy`` functions; ``np.asarray(x)`` is a read-only NumPy view of the same memory.
    Item assignment is not possible: ``x = x.at[i].set(v)`` makes a changed copy.  (With ``fx.config.array_api``, ``x[i] = v``
    changes this array alone, no view of it and no array that it is a view of.)

    >>> import fx.numpy as fnp
    >>> x = fnp.arange(3.0)
    >>> x.at[1].set(10.0), x + 1
    (Array([ 0., 10.,  2.], dtype=float32), Array([1., 2., 3.], dtype=float32))
    >>> x
    Array([0., 1., 2.], dtype=float32)
    """

    _aval: Aval
    __slots__ = ("__weakref__", "_aval", "_buffer", "_owned", "weak_type")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: np.ndarray, weak_type: bool = False) -> None:
        self._buffer: np.ndarray | None = data
        self.weak_type = weak_type
        self._owned = False  # True for results of compiled programs, whose memory nobody else has been given

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(no_method("'Array' object", name), name=name, obj=self)

    @property
    def _data(self) -> np.ndarray:
        d = self._buffer
        if d is None:
            raise DeletedArrayError(
                "this array's memory is gone: it was donated to a jitted function (donate_argnums), which has reused it, or"
                " deleted. Use the function's result, or do not donate the argument."
            )
        return d

    def _give_up(self) -> np.ndarray:
        """The memory, for a program that will overwrite it; the array cannot be used any more.

        It is copied first if anyone else may see it: the caller's own NumPy array, a view that was handed out.
        """
        seen = self._is_seen()
        d = self._data
        self._exchange(None)
        return d.copy() if seen else d

    def _is_seen(self) -> bool:
        """Whether anyone else holds the memory, or what it is a view of.

        Neither is a local variable here: from Python 3.14 on, an argument that was one is not counted.
        """
        return (
            not self._owned
            or getrefcount(self._buffer) > _ALONE
            or (self._data.base is not None and getrefcount(self._data.base) > _ALONE)
        )

    def _exchange(self, new: np.ndarray | None) -> None:
        """Other memory, or none, for this object.  NumPy's arrays that were made by the protocol hold the object and not its
        memory, which therefore stays as long as the object does."""
        if not self._owned:
            finalize(self, _stays, self._buffer).atexit = False
        self._buffer = new

    def _write(self, index: Any, value: Any) -> None:
        """``x[index] = value`` for an index and a value that NumPy takes; in place where nobody else may see the memory."""
        seen = self._is_seen()
        d = self._data
        if seen or not d.flags.writeable:
            d = d.copy()
            self._exchange(d)
        with np.errstate(all="ignore"):
            d[index] = value
        self._owned = True

    def alias(self) -> Array:
        """Another array of the same contents: an update of one does not show in the other."""
        return Array(self._data, self.weak_type)

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        d = self._buffer  # these three are asked for all the time: one call less
        return self._data.shape if d is None else d.shape

    @property
    def dtype(self) -> np.dtype:
        d = self._buffer
        return self._data.dtype if d is None else d.dtype

    @property
    def ndim(self) -> int:
        d = self._buffer
        return self._data.ndim if d is None else d.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    @property
    def itemsize(self) -> int:
        return self._data.itemsize

    @property
    def aval(self) -> Aval:
        d = self._buffer
        if d is None:
            d = self._data
        try:
            return self._aval
        except AttributeError:  # made when it is first asked for
            self._aval = aval_of_array(d.shape, d.dtype, self.weak_type)
            return self._aval

    # ------------------------------------------------------------------ to and from Python and NumPy

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy or (dtype is not None and np.dtype(dtype) != self._data.dtype):
            if copy is False:
                raise ArgumentError(f"an array of {self.dtype} cannot become {np.dtype(dtype)} without a copy")
            return np.array(self._data, dtype=dtype)
        view = self._data.view()
        view.flags.writeable = False
        return view

    @property
    def __array_interface__(self) -> dict[str, Any]:
        if (
            self._data.dtype.kind == "V"
        ):  # bfloat16: the protocol's type string cannot name it; NumPy then asks __array__
            raise AttributeError("__array_interface__")
        self._owned = False  # a view made through the protocol holds this object, not its memory
        told = self._data.__array_interface__
        told["data"] = told["data"][0], True
        return told

    @property
    def __array_struct__(self) -> Any:
        """What ``__array_interface__`` tells, without a dictionary: NumPy asks for this first, and is told in a third of the time."""
        view = self._data.view()
        if view.dtype.kind == "V":
            raise AttributeError("__array_struct__")
        view.flags.writeable = False
        self._owned = False
        return view.__array_struct__

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule of the memory; what is read-only can only be told to consumers of DLPack 1.0, others get a copy.

        Raises:
            BufferError: ``copy=False`` and a copy would be needed, or another device than the CPU is asked for.
        """
        d = self._data
        self._owned = False
        if not d.flags.writeable and not copy and (max_version is None or max_version < (1, 0)):
            if copy is False:
                raise BufferError(
                    "this array's memory is read-only, which DLPack says from version 1.0 on: pass max_version=(1, 0), or"
                    " drop copy=False"
                )
            d = d.copy()
        return d.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def block_until_ready(self) -> Array:
        """Returns the array; fx computes synchronously."""
        return self

    def copy_to_host_async(self) -> None:
        """Nothing to do: the array is in the process's memory."""

    def is_ready(self) -> bool:
        """True: fx computes synchronously."""
        return True

    def delete(self) -> None:
        """Lets the memory go; the array cannot be used any more."""
        self._exchange(None)

    def is_deleted(self) -> bool:
        """True after ``delete``, or where a jitted function was given the memory (donation)."""
        return self._buffer is None

    def addressable_data(self, index: int) -> Array:
        """The array itself: there is one device."""
        return self

    @property
    def addressable_shards(self) -> list[Shard]:
        """What each device holds of the array: the CPU all of it."""
        return [Shard(self, (slice(None),) * self.ndim)]

    global_shards = addressable_shards

    def devices(self) -> set[Device]:
        """The devices that hold the array: the CPU."""
        return {CPU}

    is_fully_addressable = is_fully_replicated = committed = True

    def platform(self) -> str:
        return "cpu"

    def on_device_size_in_bytes(self) -> int:
        return self.nbytes

    def unsafe_buffer_pointer(self) -> int:
        """The address of the memory, which lives no longer than the array does."""
        self._owned = False
        return int(self._data.ctypes.data)

    def item(self, *args: int) -> Any:
        """The element as a Python number."""
        return self._data.item(*args)

    def tolist(self) -> Any:
        return self._data.tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        return self._data.tobytes(order)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __complex__(self) -> complex:
        z = complex(self._data)
        if z != z and self.dtype.kind != "c":  # a real NaN: both parts, as the array API has it
            return complex(z.real, z.real)
        return z

    def __index__(self) -> int:
        if self.ndim or self.dtype.kind not in "iu":
            raise DTypeError(f"only an integer scalar can be an index; this is {self.aval}")
        return int(self._data)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a 0-d array has no len()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.ndim:
            raise TypeError("a 0-d array cannot be iterated")
        return (Array(np.asarray(x), self.weak_type) for x in self._data)

    def __format__(self, spec: str) -> str:
        return format(self._data[()] if self.ndim == 0 else self._data, spec)

    def __repr__(self) -> str:
        if self._buffer is None:
            return "Array(<deleted>)"
        body = np.array2string(self._data, separator=", ", prefix="Array(")
        shape = f", shape={self.shape}" if not self.size and self.ndim != 1 else ""  # which the brackets do not show
        weak = ", weak_type=True" if self.weak_type else ""
        return f"Array({body}{shape}, dtype={self.dtype}{weak})"

    def __str__(self) -> str:
        return repr(self) if self._buffer is None else str(self._data)

    def __copy__(self) -> Array:
        return self.alias()

    def __deepcopy__(self, memo: Any) -> Array:
        return Array(self._data.copy(), self.weak_type)

    def __reduce__(self) -> Any:
        return Array, (np.asarray(self), self.weak_type)

    def __delitem__(self, index: Any) -> NoReturn:
        raise ItemAssignmentError(
            "del x[index] is not possible: an array keeps its size. fx.numpy.delete makes a copy without."
        )


def _references_alone() -> int:
    """How many references to the memory of an array ``_is_seen`` counts where nobody else holds it."""
    probe = Array(np.zeros(1))
    return getrefcount(probe._buffer)


_ALONE = _references_alone()


def to_numpy(x: Any) -> np.ndarray:
    """The NumPy array behind an array, a number or anything that NumPy can read, in a supported dtype."""
    if type(x) is Array:
        return x._data
    if type(x) is np.ndarray and x.dtype in SUPPORTED:
        return x
    if isinstance(x, np.ndarray) and hasattr(x, "mask"):
        raise DTypeError(
            "a masked array stands where an array is expected, and its mask would be lost. Fill it (x.filled(0)), or pass"
            " x.data and x.mask as two arrays."
        )
    a = np.asarray(x)
    d = canonical(a.dtype)
    if d is a.dtype or d == a.dtype:
        return a
    with np.errstate(over="ignore"):
        return a.astype(d)


tree.keys_of_static[Array] = lambda x: (x.dtype, x.shape, x.weak_type, np.asarray(x).tobytes())
