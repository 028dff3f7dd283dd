"""What is done with the elements of data sets: drawn for, looked at, stacked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..errors import DataError, ShapeError

__all__ = ["finite", "kept", "mapped", "name_of", "permutation", "seeded", "stacked"]

Element = Any


def seeded(*numbers: int) -> np.random.Generator:
    """A generator for some numbers together, the same on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(numbers)))


def permutation(n: int, *numbers: int) -> np.ndarray:
    """An order of n things. (Sorting random words: the streams of NumPy's own permutations may change.)"""
    return np.argsort(seeded(*numbers).bit_generator.random_raw(n), kind="stable")


def finite(number: int, element: Element) -> Element:
    for path, leaf in tree.leaves_with_path(element):
        values = np.asarray(leaf)
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise DataError(
                f"element {number}{tree.keystr(path)} has {values[at]} at {at}: clean the data, or leave it out with filter"
            )
    return element


def stacked(elements: list[Element]) -> Element:
    """Elements of one structure as one, their leaves stacked.

    Raises:
        ShapeError: they differ.
    """
    first, structure = tree.flatten(elements[0])
    rows = [first]
    for i, element in enumerate(elements[1:], 1):
        leaves, found = tree.flatten(element)
        if found != structure:
            raise ShapeError(f"batch: element {i} of the batch has the structure {found}, element 0 has {structure}")
        rows.append(leaves)
    columns = []
    for path, *column in zip([p for p, _ in tree.leaves_with_path(elements[0])], *rows):
        shapes = [np.shape(x) for x in column]
        if other := [i for i, s in enumerate(shapes) if s != shapes[0]]:
            raise ShapeError(
                f"batch: element {other[0]} of the batch{tree.keystr(path)} has shape {shapes[other[0]]}, element 0 has"
                f" {shapes[0]}; map them to one shape first (crop, pad), or use batch(1)"
            )
        columns.append(np.stack([np.asarray(x) for x in column]))
    return structure.unflatten(columns)


def name_of(f: Any) -> str:
    """How a function is named in the text of a data set."""
    return getattr(f, "__qualname__", type(f).__name__).rpartition(".")[2]


def mapped(f: Callable[..., Element], i: int, *args: Any) -> Element:
    """``f(*args)`` for element ``i``; an error says which that was, None is one.

    Raises:
        DataError: the result is None; ``f`` raises StopIteration.
    """
    try:
        made = f(*args)
    except StopIteration as error:  # which would end whoever goes through the elements, and the rest would be lost
        raise DataError(
            f"map: the function raised StopIteration for element {i} of the pass: {_kinds(args[-1])}. Does it call next() of"
            " something that has ended? next(iterator, default) gives something else then."
        ) from error
    except Exception as error:
        error.add_note(
            f"in map, of element {i} of the pass: {_kinds(args[-1])}, which the function gets as one argument"
        )
        raise
    if made is None:
        raise DataError(f"map: the function gave None for element {i} of the pass; does it end in return?")
    return made


def kept(keep: Callable[[Element], Any], element: Element) -> bool:
    """Whether ``keep(element)`` is true; an error says of what element."""
    try:
        return bool(keep(element))
    except Exception as error:
        error.add_note(f"in filter, whose function takes an element and gives True or False: {_kinds(element)}")
        raise


def _kinds(element: Element) -> str:
    kinds = [
        f"{tree.keystr(p)} {np.asarray(x).dtype}{list(np.shape(x))}".strip() for p, x in tree.leaves_with_path(element)
    ]
    return ", ".join(kinds[:8]) + ", ..." * (len(kinds) > 8)
