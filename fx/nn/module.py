"""``Module``: a frozen dataclass that is a pytree, and whose methods are plain functions.

Subclassing is all there is to it: the class becomes a dataclass and a registered pytree node.  Fields are *data*
(arrays, modules, ``None``, and tuples, lists, dicts of these) unless they are declared with ``static_field()``: those
are hashable, and part of the structure (sizes, strides, functions, flags).
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast, dataclass_transform

from .. import dtypes, tree
from ..errors import FrozenModuleError, ModuleFieldError
from ..ir import Aval
from ..signatures import signature_of
from ..trace import named_scope
from ..traceback import shorten, user_frames
from .elsewhere import explain_arguments, explain_call, explain_method, forward_is_no_call
from .observing import observe_call, observer

__all__ = ["Module", "field", "replace", "static_field"]

_INDENT = "  "


def field(*, static: bool = False, trainable: bool = True, **kwargs: Any) -> Any:
    """``dataclasses.field`` of a module.

    Args:
        static: the value is hashable and part of the module's structure, no leaf of the pytree.
        trainable: False for arrays that are no parameters (tables, moments of the data): frozen from the start, as by ``nn.freeze``.

    >>> from fx import nn, random
    >>> class Scaled(nn.Module):
    ...     layer: nn.Linear
    ...     scale: object = nn.field(trainable=False)
    >>> model = Scaled(nn.Linear(2, 3, use_bias=False, key=random.key(0)), random.uniform(random.key(1), (3,)))
    >>> nn.trainable(model).layer.weight, nn.trainable(model).scale
    (True, False)
    """
    metadata = {**(kwargs.pop("metadata", None) or {}), "static": static, "trainable": trainable}
    return dataclasses.field(metadata=metadata, **kwargs)


def static_field(**kwargs: Any) -> Any:
    """``field(static=True)``: sizes, functions, flags."""
    return field(static=True, **kwargs)


def _has_data_type(x: Any) -> bool:
    """Whether a leaf can be data: it has a shape and a dtype, or is ``None``."""
    return x is None or (hasattr(x, "shape") and hasattr(x, "dtype"))


def _check_fields(module: Module) -> None:
    """Raises ModuleFieldError unless every field is there and holds what its kind of field may hold."""
    cls = type(module)
    values = module.__dict__
    missing = [n for n in (*cls._data_names, *cls._static_names) if n not in values]
    if missing:
        raise ModuleFieldError(f"{cls.__name__}.__init__ must assign {', '.join(missing)}: declared as fields, not set")
    for name in cls._data_names:
        for path, leaf in tree.leaves_with_path(values[name], is_leaf=lambda x: x is None):
            if not _has_data_type(leaf):
                raise ModuleFieldError(
                    f"{cls.__name__}.{name}{tree.keystr(path)} is a {type(leaf).__name__}, {leaf!r}; fields hold arrays and"
                    f" modules. Declare it static, `{name}: ... = nn.static_field()`, or make it an array (a function: nn.Lambda)."
                )
    for name in cls._static_names:
        try:
            hash(values[name])
        except TypeError:
            raise ModuleFieldError(
                f"{cls.__name__}.{name} is a static field and must be hashable; found {type(values[name]).__name__}."
                " Make it a tuple, or declare the field without static if it holds arrays."
            ) from None


def _constants(module: Module) -> frozenset[str]:
    """The paths of the arrays in fields that are declared as not to be trained.

    Raises:
        ModuleFieldError: such a field holds a module, whose arrays are its own.
    """
    found = []
    for f in dataclasses.fields(cast(Any, module)):
        if f.metadata.get("trainable", True):
            continue
        for path, leaf in tree.leaves_with_path(module.__dict__[f.name], is_leaf=lambda x: isinstance(x, Module)):
            if isinstance(leaf, Module):
                raise ModuleFieldError(
                    f"{type(module).__name__}.{f.name}, a field that is not trained, holds a {type(leaf).__name__}; it is for arrays."
                    f" nn.freeze(model, '{f.name}') freezes a module."
                )
            found.append("/".join(filter(None, (f.name, tree.keystr(path, simple=True, separator="/")))))
    return frozenset(found)


def _observed(call: Callable[..., Any]) -> Callable[..., Any]:
    """``__call__`` whose equations carry the module's name, and that an observer may watch; errors show the user's frames."""

    @functools.wraps(call)
    def wrapped(self: Module, *args: Any, **kwargs: Any) -> Any:
        try:
            if observer() is not None:
                return observe_call(call, self, args, kwargs)
            with named_scope(type(self).__name__):
                return call(self, *args, **kwargs)
        except BaseException as e:
            shorten(e)
            if type(e) is TypeError and (explained := explain_call(type(self), call, e, kwargs)) is not None:
                raise explained from None
            raise

    return wrapped


class _Statics:
    """The static fields of a module and its frozen paths: what a node of its class keeps beside its children.

    Modules hand one object on from copy to copy, so that two structures of one origin compare by identity: ``jit`` compares
    the structure of its arguments at every call.
    """

    __slots__ = ("_hash", "fields", "values")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.values = tuple(fields.values())
        self.fields = {**fields, "_statics": self}
        self._hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.values)
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (type(other) is _Statics and tree.same_aux(self.values, other.values))

    def __repr__(self) -> str:
        told = [f"{n}={v!r}" for n, v in self.fields.items() if n not in ("_frozen", "_statics")]
        frozen = sorted(self.fields.get("_frozen", ()))
        return ", ".join([*told, *([f"frozen: {' '.join(frozen)}"] if frozen else [])])


def close(module: Module, frozen: frozenset[str]) -> None:
    """Notes the static fields of a module, all of whose fields are set."""
    values = module.__dict__
    values.update(_Statics({**{n: values[n] for n in type(module)._static_names}, "_frozen": frozen}).fields)


def _register(cls: _ModuleType) -> None:
    """The names of the fields are read from the class each time: a pickler that sends classes by value (cloudpickle) sets
    them, as all other attributes, when the class is there already."""

    def children(x: Any) -> tuple[list[Any], Any]:
        values = x.__dict__
        return [values[n] for n in cls._data_names], values["_statics"]

    def with_keys(x: Any) -> tuple[list[tuple[Any, Any]], Any]:
        values, statics = children(x)
        return list(zip(map(tree.GetAttrKey, cls._data_names), values)), statics

    def unflatten(statics: Any, values: Iterable[Any]) -> Any:
        x: Any = object.__new__(cls)  # type: ignore[arg-type]
        own = x.__dict__
        own.update(statics.fields)
        own.update(zip(cls._data_names, values))
        return x

    tree.register_pytree_with_keys(cls, with_keys, unflatten, children)
    tree.name_children(cls, lambda: cls._data_names)


@dataclass_transform(eq_default=False, field_specifiers=(field, static_field))
class _ModuleType(abc.ABCMeta):
    """Makes each subclass a dataclass and a pytree node, and freezes an object when its ``__init__`` is done."""

    _data_names: tuple[str, ...]
    _static_names: tuple[str, ...]
    _frozen: frozenset[str]  # of an object: the paths, from it, of its own arrays that nn.freeze has marked

    def __new__(
        mcs: type[_ModuleType],
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        init: bool = True,
        **kwargs: Any,
    ) -> Any:
        """``init=False`` tells type checkers that the class keeps its base's ``__init__``; at run time that is seen."""
        if "forward" in namespace and not any("__call__" in c.__dict__ for base in bases for c in base.__mro__):
            namespace = {"__call__": forward_is_no_call, **namespace}
        if "__call__" in namespace:
            namespace = {**namespace, "__call__": _observed(namespace["__call__"])}
        cls: Any = super().__new__(mcs, name, bases, namespace, **kwargs)
        cls._has_init = "__init__" in namespace or any(getattr(b, "_has_init", False) for b in bases)
        dataclasses.dataclass(eq=False, repr=False, init=not cls._has_init)(cls)
        fields = dataclasses.fields(cls)
        cls._static_names = tuple(f.name for f in fields if f.metadata.get("static"))
        cls._data_names = tuple(f.name for f in fields if not f.metadata.get("static"))
        _register(cls)
        return cls

    @property
    def __signature__(cls) -> inspect.Signature:
        """What ``inspect``, ``help`` and notebooks show: the arguments of ``__init__``.  Objects have that of their ``__call__``."""
        whole = signature_of(cls.__init__)  # type: ignore[misc]
        return whole.replace(parameters=list(whole.parameters.values())[1:], return_annotation=whole.empty)

    @user_frames
    def _make(cls, *args: Any, **kwargs: Any) -> Any:
        self: Any = object.__new__(cast(type, cls))
        self.__dict__["_open"] = True
        try:
            self.__init__(*args, **kwargs)
        except TypeError as error:
            if (explained := explain_arguments(cls, error, kwargs)) is not None:
                raise explained from None
            raise
        del self.__dict__["_open"]
        for f in dataclasses.fields(cast(Any, cls)):  # defaults of a class with an __init__ of its own
            if f.name not in self.__dict__ and f.default is not dataclasses.MISSING:
                self.__dict__[f.name] = f.default
        _check_fields(self)
        close(self, _constants(self))
        return self

    if not TYPE_CHECKING:  # type checkers take the arguments and the type of an object from __init__
        __call__ = _make


class Module(metaclass=_ModuleType):
    """Base class of layers and networks.

    A subclass declares its fields; without an ``__init__`` of its own it gets the dataclass's, with one, that assigns
    them.  After it the object is immutable.  A call is a pure function of the module, its arguments, and where it
    needs them a ``state`` and a ``key``; see ``fx/nn/README.md``.

    >>> import fx, fx.numpy as fnp
    >>> from fx import nn, random
    >>> class Net(nn.Module):
    ...     hidden: nn.Linear
    ...     out: nn.Linear
    ...     activation: object = nn.static_field(default=nn.relu)
    ...
    ...     def __init__(self, size, *, key):
    ...         first, second = random.split(key)
    ...         self.hidden, self.out = nn.Linear(4, size, key=first), nn.Linear(size, 2, key=second)
    ...
    ...     def __call__(self, x):
    ...         return self.out(self.activation(self.hidden(x)))
    >>> model = Net(8, key=random.key(0))
    >>> model(fnp.ones((3, 4))).shape
    (3, 2)
    >>> [fx.tree_util.keystr(path) for path, _ in fx.tree_util.tree_leaves_with_path(model)]
    ['.hidden.weight', '.hidden.bias', '.out.weight', '.out.bias']
    """

    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self)
        if "_open" not in self.__dict__:
            raise FrozenModuleError(
                f"cannot assign {cls.__name__}.{name}: modules are immutable. Make a changed one:"
                f" model = nn.tree_at(lambda m: m.{name}, model, value)."
            )
        if name not in cls._data_names and name not in cls._static_names:
            raise ModuleFieldError(
                f"{cls.__name__}.__init__ assigns {name}, which is no field. Declare it in the class body:"
                f" `{name}: {type(value).__name__}`, with `= nn.static_field()` if it is no array, module or container of them."
            )
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(explain_method(type(self), name), name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        raise FrozenModuleError(f"cannot delete {type(self).__name__}.{name}: modules are immutable")

    def __repr__(self) -> str:
        return _repr(self, "")


def replace(module: Any, **fields: Any) -> Any:
    """A copy of a module with other values in some of its fields, static ones too.

    >>> from fx import nn
    >>> nn.replace(nn.Dropout(0.5), rate=0.1)
    Dropout(rate=0.1)

    Raises:
        ModuleFieldError: there is no field of that name, or it cannot hold the value.
    """
    cls = type(module)
    if not isinstance(module, Module):
        raise ModuleFieldError(f"replace takes a module, an instance of nn.Module; found {module!r:.60}")
    unknown = set(fields) - {*cls._data_names, *cls._static_names}
    if unknown:
        raise ModuleFieldError(
            f"{cls.__name__} has no field {', '.join(sorted(unknown))};"
            f" it has {', '.join((*cls._data_names, *cls._static_names))}"
        )
    copy = object.__new__(cls)
    copy.__dict__.update(module.__dict__)
    copy.__dict__.update(fields)
    _check_fields(copy)
    close(copy, module._frozen)
    return copy


# ---------------------------------------------------------------------------------------- printing


def _parts(x: Any) -> Iterator[tuple[str, Any]]:
    """What a module's text shows: its fields, but for static ones at their default or declared with ``repr=False``."""
    for f in dataclasses.fields(x):
        value = x.__dict__[f.name]
        if f.repr and not (f.metadata.get("static") and value is f.default):
            yield f"{f.name}=", value


def _repr(x: Any, indent: str) -> str:
    inner = indent + _INDENT
    if isinstance(x, Module):
        parts, left, right = [k + _repr(v, inner) for k, v in _parts(x)], f"{type(x).__name__}(", ")"
    elif type(x) in (tuple, list):
        parts, (left, right) = [_repr(v, inner) for v in x], "()" if type(x) is tuple else "[]"
    elif type(x) is dict:
        parts, left, right = [f"{k!r}: {_repr(v, inner)}" for k, v in x.items()], "{", "}"
    elif hasattr(x, "shape") and hasattr(x, "dtype"):
        return _type_text(x)
    else:
        return getattr(x, "__name__", None) or repr(x)
    one_line = ", ".join(parts)
    nested = any("\n" in p for p in parts) or (len(parts) > 1 and any("(" in p for p in parts) and len(one_line) > 60)
    if not nested:
        return f"{left}{one_line}{right}"
    return f"{left}\n" + "".join(f"{inner}{p},\n" for p in parts) + f"{indent}{right}"


def _type_text(x: Any) -> str:
    if x.dtype in dtypes.ALL:
        return str(Aval(tuple(x.shape), x.dtype))
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"  # of another library, or of a dtype that is none of ours
