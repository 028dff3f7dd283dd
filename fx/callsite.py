"""What the code that asks something of a traced value is about to do with it.

``float(x)`` and ``buffer[i] = x`` and ``math.sin(x)`` all arrive at ``Tracer.__float__``.  The first is meant; the others
would lose the derivative without a word.  The instruction that the caller stands at tells them apart.
"""

from __future__ import annotations

import dis
import functools
import opcode
import re
import sys
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "array_function_for", "called_library_function", "called_math_function", "drops_the_result", "is_an_assignment",
    "own_function_for", "stores_an_item",
]  # fmt: skip

_STORE_ITEM = opcode.opmap["STORE_SUBSCR"]
_STORES = {_STORE_ITEM, opcode.opmap.get("STORE_SLICE", _STORE_ITEM)}
_CACHE, _POP_TOP = opcode.opmap["CACHE"], opcode.opmap["POP_TOP"]
_CALLS = ("CALL", "CALL_KW", "CALL_FUNCTION_EX")
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_JOINED = re.compile("(LOAD|STORE)_FAST")
_ENDS = re.compile(
    "JUMP_(FORWARD|BACKWARD|ABSOLUTE)|RETURN_(VALUE|CONST)|RAISE|RERAISE"
)  # what comes next is not reached from here
_NO_DERIVATIVE = frozenset(("ceil", "floor", "isclose", "isfinite", "isinf", "isnan", "trunc"))


def stores_an_item(caller: FrameType) -> bool:
    """True at ``buffer[i] = x``."""
    return caller.f_code.co_code[caller.f_lasti] in _STORES


def is_an_assignment(caller: FrameType) -> bool:
    """True at ``x[i] = v`` and ``x.__setitem__(i, v)``; False where C code does the same by itself."""
    code = caller.f_code
    return code.co_code[caller.f_lasti] in _STORES or any("setitem" in name for name in code.co_names)


def drops_the_result(caller: FrameType) -> bool:
    """True if the call that runs is a statement, whose result nobody uses."""
    code = caller.f_code.co_code
    at = caller.f_lasti + 2
    while at < len(code) and code[at] == _CACHE:
        at += 2
    return at < len(code) and code[at] == _POP_TOP


def called_math_function(caller: FrameType) -> str | None:
    """The name of the function of ``math`` or ``cmath``, or the type of NumPy's numbers, that is being called, if its result
    has a derivative to lose."""
    found = _called(caller, ())[1]
    module, name = getattr(found, "__module__", None), getattr(found, "__name__", "")
    if isinstance(found, type) and issubclass(found, np.inexact):
        return f"np.{name}"
    return f"{module}.{name}" if module in ("math", "cmath") and name not in _NO_DERIVATIVE else None


_LIBRARIES = ("numpy", "scipy")
_MAKERS = ("asarray", "array", "asanyarray", "ascontiguousarray", "asfortranarray")


def called_library_function(caller: FrameType) -> tuple[str, FrameType] | None:
    """The public name of the function of SciPy or NumPy through which somebody's code has come to ``caller``, and that code.

    None where it cannot be told, and for ``np.asarray`` and its kin, which make arrays and do nothing else.
    """
    frame: FrameType | None = caller
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        frame = frame.f_back
    if frame is None:
        return None
    name, found = _called(frame, _LIBRARIES)
    library, _, rest = name.partition(".")
    return (name, frame) if callable(found) and library in _LIBRARIES and rest not in _MAKERS else None


def own_function_for(name: str) -> str:
    """What to call in place of a function of SciPy or NumPy.

    >>> import fx.scipy.special
    >>> own_function_for("scipy.special.logsumexp"), own_function_for("scipy.fft.fft")
    ('Use fx.scipy.special.logsumexp', 'Use fx.numpy.fft.fft')
    """
    library, _, rest = name.partition(".")
    for path in (f"{library}.{rest}", f"numpy.{rest}"):
        own: Any = sys.modules.get("fx")
        for part in path.split("."):
            own = getattr(own, part, None)
        if own is not None:
            return f"Use fx.{path}"
    return (
        "fx has none of that name: write it with fx.numpy, or call it through fx.pure_callback (without a derivative)"
    )


def _called(caller: FrameType, libraries: tuple[str, ...]) -> tuple[str, Any]:
    """What is being called, and its dotted name: that of its module, without what is private in it, and its own.

    Looks into modules, and into objects of the libraries; looking further could run code of the user's.
    """
    path = _callee(caller.f_code, caller.f_lasti)
    if path is None:
        return "", None
    scopes = [caller.f_locals, caller.f_globals, caller.f_builtins]
    found: Any = next((scope[path[0]] for scope in scopes if path[0] in scope), None)
    module = found.__name__ if isinstance(found, ModuleType) else f"{getattr(found, '__module__', '')}.{path[0]}"
    for name in path[1:]:
        if not isinstance(found, ModuleType) and type(found).__module__.partition(".")[0] not in libraries:
            return "", None
        found = getattr(found, name, None)
    return ".".join(p for p in (*module.split("."), *path[1:]) if not p.startswith("_")), found


def array_function_for(name: str) -> str:
    """What to call in place of a function of ``math``.

    >>> array_function_for("math.sin"), array_function_for("math.lgamma")
    ('np.sin', 'the function of fx.numpy or fx.scipy.special')
    """
    if name.startswith("np."):
        return f"x.astype({name})"
    own = {"fabs": "abs", "fsum": "sum", "phase": "angle", "dist": "linalg.norm"}
    short = name.rpartition(".")[2]
    short = own.get(short, short)
    known = hasattr(np, short.partition(".")[0])
    return f"np.{short}" if known else "the function of fx.numpy or fx.scipy.special"


@functools.lru_cache(maxsize=1024)
def _callee(code: CodeType, at: int) -> tuple[str, ...] | None:
    """The name (``sin``, or ``math`` and ``sin``) that is called at an instruction; None for anything else.

    What has touched the place of the callable last has loaded it, or taken an attribute of what lay there.
    """
    steps = _steps(code, at)
    call = steps.pop()
    if call.name not in _CALLS:
        return None
    if steps[-1].name == "PRECALL":  # it and CALL are a pair in Python 3.11
        call = steps.pop()
    bottom = call.depth - _arguments(call)
    while steps and not (steps[-1].depth < bottom or (steps[-1].depth == bottom and steps[-1].name == "LOAD_ATTR")):
        steps.pop()
    return _path(steps)


class _Step(NamedTuple):
    """An instruction, or one of the two that are joined in one, and how high the stack is before it."""

    name: str
    arg: int | None
    argval: Any
    depth: int


def _steps(code: CodeType, at: int) -> list[_Step]:
    """The instructions up to an offset, in the order in which they stand.

    Heights count from wherever the code begins that only an exception leads to: within an expression they are right.
    """
    steps: list[_Step] = []
    depth: int | None = 0
    reached: dict[int, int] = {}  # the height at the targets of the jumps so far
    for i in dis.get_instructions(code):
        if i.offset > at:
            break
        depth = reached.get(i.offset, 0) if depth is None else depth
        if i.opcode in _JUMPS:
            reached.setdefault(i.argval, depth + dis.stack_effect(i.opcode, i.arg, jump=True))
        after = depth + dis.stack_effect(i.opcode, i.arg, jump=False)
        joined = _JOINED.findall(i.opname)
        if len(joined) == 2:  # two local variables: LOAD_FAST_LOAD_FAST, STORE_FAST_LOAD_FAST, ...
            for kind, name in zip(joined, i.argval):
                steps.append(_Step(f"{kind}_FAST", None, name, depth))
                depth += 1 if kind == "LOAD" else -1
        elif i.opname != "EXTENDED_ARG":
            steps.append(_Step(i.opname, i.arg, i.argval, depth))
        depth = None if _ENDS.match(i.opname) else after
    return steps


def _arguments(call: _Step) -> int:
    """How many values lie above the callable, and above the null or ``self`` that goes with it."""
    if call.name != "CALL_FUNCTION_EX":
        return (call.arg or 0) + (call.name == "CALL_KW")  # the names of keywords
    return (
        2 if call.arg is None else 1 + (call.arg & 1)
    )  # positional ones, and keywords; always both from Python 3.14 on


def _path(loads: list[_Step]) -> tuple[str, ...] | None:
    """The dotted name that the last of these instructions finishes loading."""
    names: list[str] = []
    for i in reversed(loads):
        if i.name in ("LOAD_ATTR", "LOAD_METHOD"):
            names.append(i.argval)
        elif i.name == "PUSH_NULL" and not names:
            continue
        elif i.name.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF")):
            return tuple(reversed([*names, i.argval]))
        else:
            return None
    return None
