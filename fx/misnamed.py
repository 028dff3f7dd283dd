"""What other libraries call otherwise is said: names and arguments that are not known, with those that are."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from .signatures import signature_of

__all__ = ["explained", "name_here", "no_argument", "no_attribute", "too_many", "unexpected"]

C = TypeVar("C", bound=Callable[..., Any])


def explained(elsewhere: Mapping[str, str]) -> Callable[[C], C]:
    """A decorator of functions and classes: a keyword that they do not take is told with what there is instead.

    Args:
        elsewhere: from a keyword of another library to ours (``a|b``: whichever the function has), or to a sentence that says the
            way out.

    >>> @explained({"lr": "learning_rate"})
    ... def descent(learning_rate): ...
    >>> descent(lr=0.1)
    Traceback (most recent call last):
    TypeError: descent takes no argument 'lr'. Here it is called learning_rate. It takes learning_rate.
    """

    def decorate(target: C) -> C:
        if isinstance(target, type):
            target.__init__ = _wrapped(target.__init__, target.__name__, elsewhere)  # type: ignore[misc]
            return target  # type: ignore[return-value]
        return _wrapped(target, target.__name__, elsewhere)

    return decorate


def _wrapped(f: C, name: str, elsewhere: Mapping[str, str]) -> C:
    parameters = [n for n, p in signature_of(f).parameters.items() if n != "self" and p.kind is not p.VAR_KEYWORD]

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except TypeError as error:
            inside = error.__traceback__ is not None and error.__traceback__.tb_next is not None
            wrong = None if inside else unexpected(error, kwargs)
            if wrong is None:
                if not inside and "positional arguments but" in str(error):
                    error.add_note(too_many(f, name, elsewhere))
                raise
        raise no_argument(name, wrong, parameters, elsewhere)

    return call  # type: ignore[return-value]


def unexpected(error: TypeError, given: Iterable[str]) -> str | None:
    """The keyword among those given that Python says a function does not take; None where the error is another one."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return found[1] if found and found[1] in given else None


def too_many(f: Callable[..., Any], name: str, elsewhere: Mapping[str, str]) -> str:
    """What a function takes by position and what by name, for a call that gives too much by position.

    Args:
        elsewhere: as in ``explained``; what stands under ``*`` is added.

    >>> too_many(lambda model, data, *, epochs: None, "fit", {"*": "A batch is a pair."})
    'fit takes model, data by position, epochs by name. A batch is a pair.'
    """
    parameters = [(n, p) for n, p in signature_of(f).parameters.items() if n != "self"]
    placed = [n for n, p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = [n for n, p in parameters if p.kind is p.KEYWORD_ONLY]
    takes = [f"{', '.join(names)} by {how}" for names, how in ((placed, "position"), (named, "name")) if names]
    return " ".join(
        [f"{name} takes {', '.join(takes) or 'no argument'}.", *[elsewhere[s] for s in "*" if s in elsewhere]]
    )


def no_argument(name: str, wrong: str, takes: Iterable[str], elsewhere: Mapping[str, str]) -> TypeError:
    """The error for a keyword that a function or a class does not take.

    Args:
        takes: the keywords that it takes.
        elsewhere: as in ``explained``.

    >>> print(no_argument("relu", "inplace", [], {"inplace": "Arrays do not change."}))
    relu takes no argument 'inplace'. Arrays do not change. It takes no argument.
    """
    takes, told = list(takes), elsewhere.get(wrong, "")
    ours = [told] if " " in told else [f"Here it is called {n}." for n in told.split("|") if n in takes]
    said = [f"{name} takes no argument {wrong!r}.", *ours[:1], f"It takes {', '.join(takes) or 'no argument'}."]
    return TypeError(" ".join(said))


def no_attribute(module: str, name: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> AttributeError:
    """The error for a name that a module does not have.

    Args:
        elsewhere: from a name of another library to ours, or to a sentence that says the way out.

    >>> print(no_attribute("fx.optim", "SGD", ["sgd"], {}))
    module 'fx.optim' has no attribute 'SGD'. It is optim.sgd.
    """
    here = name_here(name, known, elsewhere)
    if here.isidentifier():
        here = f"It is {module.removeprefix('fx.')}.{here}."
    return AttributeError(f"module {module!r} has no attribute {name!r}" + (f". {here}" if here else ""), name=name)


def name_here(name: str, known: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    """What ``elsewhere`` says of a name, or the known one that differs in capitals and underscores alone; else nothing."""
    return elsewhere.get(name) or {_bare(k): k for k in known}.get(_bare(name), "")


def _bare(name: str) -> str:
    return name.lower().replace("_", "")
