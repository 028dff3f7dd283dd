"""What a distribution is: a few formulas, from which its functions are derived once.

A continuous distribution gives its formulas for the standard form (loc = 0, scale = 1); a discrete one for loc = 0.
Of cdf, sf, logcdf, logsf, ppf and isf it gives those that have a form of their own, usually because the derived one
would lose digits in a tail; the others follow::

    pdf = exp(logpdf)      cdf = exp(logcdf) or 1 - sf      logcdf = log(1 - exp(logsf)), log(cdf) or log1p(-sf)
    isf(q) = ppf(1 - q)    sf = exp(logsf) or 1 - cdf       logsf = log(1 - exp(logcdf)), log(sf) or log1p(-cdf)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import numpy as fnp
from ..special.core import Value, floats

__all__ = ["REQUIRED", "Distribution", "continuous", "discrete", "function", "log1m_exp"]

Formula = Callable[..., Value]
REQUIRED = inspect.Parameter.empty


class Distribution:
    """The functions of one distribution, as attributes."""

    def __init__(self, name: str, doc: str, functions: dict[str, Formula]) -> None:
        self.__name__ = name
        self.__doc__ = doc
        vars(self).update(functions)

    def __repr__(self) -> str:
        return f"<distribution {self.__name__}: {', '.join(n for n in vars(self) if not n.startswith('_'))}>"


def function(name: str, doc: str, parameters: Sequence[tuple[str, Any]], formula: Formula) -> Formula:
    """A public function: named parameters with their defaults, promoted to floats of one dtype and shape."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(n, kind, default=d) for n, d in parameters])

    def f(*args: Any, **kwargs: Any) -> Value:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return formula(*floats(name, *bound.arguments.values()))

    f.__name__ = name.rpartition(".")[2]
    f.__qualname__ = name
    f.__doc__ = doc
    f.__signature__ = signature  # type: ignore[attr-defined]
    return f


def log1m_exp(x: Value) -> Value:
    """log(1 - exp(x)) for x <= 0.

    Source: Maechler, "Accurately computing log(1 - exp(-|a|))" (2012).
    """
    near = x > -0.6931471805599453
    return fnp.where(near, fnp.log(-fnp.expm1(fnp.where(near, x, -0.5))), fnp.log1p(-fnp.exp(fnp.where(near, -1, x))))


_DOCS = {
    "logpdf": "The logarithm of the probability density", "pdf": "The probability density",
    "logpmf": "The logarithm of the probability", "pmf": "The probability",
    "cdf": "The probability of a value of at most this", "logcdf": "The logarithm of the distribution function",
    "sf": "The probability of a greater value, 1 - cdf", "logsf": "The logarithm of the survival function",
    "ppf": "The quantile, inverse of cdf", "isf": "The inverse of sf", "entropy": "The entropy",
}  # fmt: skip


def _derived(given: dict[str, Formula]) -> dict[str, Formula]:
    """The formulas given, and those that follow from them."""
    f = dict(given)
    f["pdf"] = lambda *xs: fnp.exp(f["logpdf"](*xs))
    if not f.keys() & {"cdf", "sf", "logcdf", "logsf"}:
        return f
    for kind, log, other in (("cdf", "logcdf", "sf"), ("sf", "logsf", "cdf"), ("cdf", "logcdf", "sf")):
        if kind not in f and (log in f or other in f):
            f[kind] = _plain(f, log, other)
    for kind, log, other, other_log in (("cdf", "logcdf", "sf", "logsf"), ("sf", "logsf", "cdf", "logcdf")):
        if log not in f:
            f[log] = _logarithm(f, kind, other, given, other_log)
    if "ppf" in f and "isf" not in f:
        f["isf"] = lambda q, *xs: f["ppf"](1 - q, *xs)
    return f


def _plain(f: dict[str, Formula], log: str, other: str) -> Formula:
    return (lambda *xs: fnp.exp(f[log](*xs))) if log in f else (lambda *xs: 1 - f[other](*xs))


def _logarithm(f: dict[str, Formula], kind: str, other: str, given: dict[str, Formula], other_log: str) -> Formula:
    """The logarithm of a probability; from the other tail where that is the smaller, if it has a formula of its own."""
    if other_log in given:
        return lambda *xs: log1m_exp(f[other_log](*xs))
    if other not in given:
        return lambda *xs: fnp.log(f[kind](*xs))

    def log(*xs: Value) -> Value:
        near, far = f[kind](*xs), f[other](*xs)
        return fnp.where(near < far, fnp.log(near), fnp.log1p(-far))

    return log


# value of a formula below the support, and above it
_OUTSIDE = {
    "logpdf": (-np.inf, -np.inf), "pdf": (0.0, 0.0), "cdf": (0.0, 1.0), "sf": (1.0, 0.0), "logcdf": (-np.inf, 0.0),
    "logsf": (0.0, -np.inf),
}  # fmt: skip


def _standard(name: str, formula: Formula, support: tuple[float | None, float | None]) -> Formula:
    """The formula of (x - loc) / scale, with its limits outside of the support."""
    low, high = support
    below, above = _OUTSIDE[name]

    def f(x: Value, *rest: Value) -> Value:
        *shapes, loc, scale = rest
        y = (x - loc) / scale
        less = None if low is None else y < low
        more = None if high is None else y > high
        safe = y if low is None else fnp.where(less, low + 0.5, y)
        safe = safe if high is None else fnp.where(more, high - 0.5, safe)
        out = formula(safe, *shapes)
        if name == "logpdf":
            out = out - fnp.log(scale)
        elif name == "pdf":
            out = out / scale
        out = out if less is None else fnp.where(less, below, out)
        return out if more is None else fnp.where(more, above, out)

    return f


def _quantile(formula: Formula) -> Formula:
    """loc + scale times the standard quantile, NaN for q outside [0, 1]."""

    def f(q: Value, *rest: Value) -> Value:
        *shapes, loc, scale = rest
        valid = (q >= 0) & (q <= 1)
        return fnp.where(valid, formula(fnp.where(valid, q, 0.5), *shapes) * scale + loc, np.nan)

    return f


def continuous(
    name: str, doc: str, shapes: Sequence[str] = (), support: tuple[float | None, float | None] = (None, None),
    *, ppf_of: str = "q", isf_of: str = "q", **formulas: Formula,
) -> Distribution:  # fmt: skip
    """A distribution with a density, given by formulas of (x, *shapes) for loc = 0 and scale = 1.

    Args:
        name, doc: of the distribution.
        shapes: names of its parameters before loc and scale.
        support: bounds of the standard form; None where there is none.
        ppf_of, isf_of: names of the first argument of ``ppf`` and ``isf``.
        formulas: ``logpdf`` and any of ``cdf sf logcdf logsf ppf isf``.
    """
    parameters = [*[(s, REQUIRED) for s in shapes], ("loc", 0), ("scale", 1)]
    functions = {}
    for kind, formula in _derived(formulas).items():
        inverse = kind in ("ppf", "isf")
        full = _quantile(formula) if inverse else _standard(kind, formula, support)
        first = ({"ppf": ppf_of, "isf": isf_of}.get(kind, "x"), REQUIRED)
        functions[kind] = function(f"{name}.{kind}", f"{_DOCS[kind]}. {doc}", [first, *parameters], full)
    return Distribution(name, doc, functions)


def discrete(
    name: str, doc: str, shapes: Sequence[str], logpmf: Formula, range_of: Callable[..., tuple[Any, Any]]
) -> Distribution:
    """A distribution over whole numbers, given by the formula of (k, *shapes) for its log-probability.

    Args:
        name, doc: of the distribution.
        shapes: names of its parameters.
        logpmf: valid for whole numbers of the range.
        range_of: ``(*shapes) -> (least, greatest)``; the greatest may be inf.
    """

    def full(k: Value, *rest: Value) -> Value:
        *parameters, loc = rest
        j = k - loc
        low, high = range_of(*parameters)
        inside = (j >= low) & (j <= high) & (j == fnp.floor(j))
        return fnp.where(inside, logpmf(fnp.where(inside, j, low), *parameters), -np.inf)

    parameters = [("k", REQUIRED), *[(s, REQUIRED) for s in shapes], ("loc", 0)]
    formulas = {"logpmf": full, "pmf": lambda *xs: fnp.exp(full(*xs))}
    return Distribution(
        name,
        doc,
        {kind: function(f"{name}.{kind}", f"{_DOCS[kind]}. {doc}", parameters, f) for kind, f in formulas.items()},
    )
