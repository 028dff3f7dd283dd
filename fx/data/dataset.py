"""``Dataset``: a chain of lazy steps over examples, the same at every run, that can stop and go on anywhere.

A data set knows how to make *tasks*, each a function that yields one element, with the state after it: a dict of ints
from which the rest can be made again. So an element costs nothing until it is asked for, ``prefetch`` can compute several
in threads, and a state that is saved in a checkpoint brings back the very batches that were to come.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import random, tree
from ..errors import DataError
from . import elsewhere
from .elements import finite, kept, mapped, name_of, permutation, seeded, stacked
from .prefetching import Prefetched, known, wait_for_ends
from .sources import Images, Source, positive
from .states import check_numbers, refuse_shorter

__all__ = ["DataIterator", "Dataset"]

Element = Any
State = dict[str, Any]
Task = Callable[[], Element]
Tasks = Iterator[tuple[Task, State]]


def _counts(n: Any, least: int = 0) -> bool:
    """Whether ``n`` is an int of at least ``least``."""
    return isinstance(n, (int, np.integer)) and bool(n >= least)


class Dataset:
    """Examples, and what is done to them, step by step. Iterating gives the elements of one pass.

    Make one with ``data.from_arrays``, ``from_csv``, ``from_folder``, ``from_npz``, ``from_memmap``, ``from_iterator``.

    >>> from fx import data
    >>> batches = data.from_arrays(np.arange(6)).map(lambda x: x * x).shuffle(seed=0).batch(4)
    >>> [b.tolist() for b in batches]
    [[9, 4, 1, 0], [16, 25]]
    """

    def tasks(self, state: State, epoch: int) -> Tasks:
        """The tasks that are left of a pass, each with the state after it; ``{}`` is the state at the beginning."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} does not know how many elements it gives")

    def __iter__(self) -> Iterator[Element]:
        with contextlib.closing(self.tasks({}, 0)) as tasks:  # type: ignore[type-var]
            for task, _ in tasks:
                yield task()

    if not TYPE_CHECKING:  # a type checker says itself what is not there

        def __getattr__(self, name: str) -> Any:
            told = f". {elsewhere.STEPS[name]}" if name in elsewhere.STEPS else ""
            raise AttributeError(f"a Dataset has no attribute {name!r}{told}", name=name, obj=self)

    @property
    def _kept(self) -> tuple[str, ...] | None:
        """The keys of the state; None: it is that of the data set below."""
        return ("index",)

    def check_state(self, state: State) -> None:
        """Raises DataError unless the state, or ``{}``, is one of a chain of the same steps."""
        if self._kept is None:
            return self._of.check_state(state)  # type: ignore[attr-defined]
        if not isinstance(state, dict) or (state and state.keys() != set(self._kept)):
            raise DataError(
                f"the state {state!r} is none of this data set, whose states hold {' and '.join(self._kept)}: it was saved with other"
                " steps. Begin without it, or with the steps it was saved with."
            )
        check_numbers(state, self._most)
        if "of" in state:
            self._of.check_state(state["of"])  # type: ignore[attr-defined]
        return None

    @property
    def _most(self) -> int | None:
        """How many elements there are in a pass, if that is known."""
        try:
            return len(self)
        except TypeError:
            return None

    def iterator(self, state: State | None = None, *, epoch: int = 0) -> DataIterator:
        """An iterator with a ``state`` that can be saved and given back here.

        Args:
            state: where to go on: that of an iterator over the same steps.
            epoch: the pass (shuffling and random maps differ from pass to pass); ``repeat`` counts by itself.

        >>> from fx import data
        >>> batches = data.from_arrays(np.arange(100)).shuffle(seed=1).batch(10).repeat()
        >>> it = batches.iterator()
        >>> _ = [next(it) for _ in range(13)]
        >>> again = batches.iterator(it.state)
        >>> all((next(it) == next(again)).all() for _ in range(20))
        True
        """
        self.check_state({} if state is None else state)
        if not _counts(epoch):
            raise DataError(f"epoch counts the passes, from 0; found {epoch!r}")
        return DataIterator(self, dict(state or {}), epoch)

    # ------------------------------------------------------------------------------------- the steps

    @elsewhere.step
    def map(self, f: Callable[..., Element], *, seed: int | None = None, key: Any = None) -> Dataset:
        """``f(element)`` in place of each element.

        Args:
            f: a function; with randomness, it takes what draws the numbers first.
            seed: ``f`` gets a NumPy ``Generator`` of its own for every element: ``f(rng, element)``.
            key: ``f`` gets a key of ``fx.random`` of its own for every element: ``f(key, element)``.
        """
        if not callable(f):
            raise DataError(f"map takes a function of an element; found {f!r}")
        if seed is not None and not _counts(seed):
            raise DataError(f"map takes a seed, an int of at least 0, or key=random.key(...); found seed={seed!r}")
        return _Map(self, f, seed, key)

    def filter(self, keep: Callable[[Element], Any]) -> Dataset:
        """The elements for which ``keep(element)`` is true."""
        if not callable(keep):
            raise DataError(f"filter takes a function of an element that says whether it stays; found {keep!r}")
        return _Filter(self, keep)

    @elsewhere.step
    def shuffle(self, seed: int, *, buffer: int | None = None) -> Dataset:
        """Another order in every pass.

        Args:
            seed: the same seed gives the same orders.
            buffer: of a data set whose elements cannot be taken in any order (after ``filter``, ``from_iterator``): each
                element is drawn from the next ``buffer`` ones. Going on in the middle of a pass reads that pass again.

        Raises:
            DataError: such a data set, and no ``buffer``.
        """
        if not _counts(seed):
            raise DataError(
                f"shuffle takes a seed, an int of at least 0 (not a key: orders are NumPy's work); found {seed!r}"
            )
        return _Shuffle(self, seed) if buffer is None else _BufferShuffle(self, seed, buffer)

    @elsewhere.step
    def batch(self, size: int, *, drop_last: bool = False) -> Dataset:
        """``size`` elements as one, their arrays stacked.

        Args:
            drop_last: leave out the last batch if it is smaller.

        Raises:
            ShapeError: when elements differ in structure or shape; the message says which.
        """
        return _Batch(self, positive("batch", "a positive size", size), drop_last)

    @elsewhere.step
    def repeat(self, times: int | None = None) -> Dataset:
        """Pass after pass; None for ever."""
        if times is not None and not _counts(times):
            raise DataError(f"repeat takes a number of passes, at least 0, or None for ever; found {times!r}")
        return _Repeat(self, times)

    @elsewhere.step
    def prefetch(self, buffer: int = 2, *, threads: int = 1) -> Dataset:
        """Computes up to ``buffer`` elements ahead, in ``threads`` threads, while the last one is being used. The order
        stays."""
        if not (_counts(buffer, 1) and _counts(threads, 1)):
            raise DataError(f"prefetch takes at least one element and one thread; found {buffer=}, {threads=}")
        return _Prefetch(self, buffer, threads)

    def take(self, n: int) -> Dataset:
        """The first ``n`` elements."""
        if not _counts(n):
            raise DataError(f"take takes a number of elements, at least 0; found {n!r}")
        return _Take(self, n)

    def skip(self, n: int) -> Dataset:
        """All but the first ``n`` elements."""
        if not _counts(n):
            raise DataError(f"skip takes a number of elements, at least 0; found {n!r}")
        return _Skip(self, n)

    def check_finite(self) -> Dataset:
        """The same elements; a NaN or an infinity in one raises ``DataError`` with its number and place."""
        return _Map(self, finite, None, None, counted=True)

    # -------------------------------------------------------------------- elements that can be taken in any order

    @property
    def positions(self) -> int | None:
        """How many elements there are, if they can be taken in any order; else None."""
        return None

    def gather(self, positions: np.ndarray) -> Element:
        """The elements at some positions, stacked."""
        raise NotImplementedError


class DataIterator:
    """An iterator over a data set; ``state``, a dict of ints, is where it stands."""

    def __init__(self, dataset: Dataset, state: State, epoch: int) -> None:
        self.state = state
        self._tasks = dataset.tasks(state, epoch)

    def __iter__(self) -> DataIterator:
        return self

    def __next__(self) -> Element:
        task, state = next(self._tasks)
        element = task()
        self.state = state
        return element

    def close(self) -> None:
        """Ends the threads of ``prefetch``, and waits until they have; garbage collection ends them too, and does not wait."""
        self._tasks.close()  # type: ignore[attr-defined]
        wait_for_ends()


class FromSource(Dataset):
    """The examples of a source, in its order."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __repr__(self) -> str:
        return f"Dataset({self._source!r})"

    def __len__(self) -> int:
        return len(self._source)

    @property
    def positions(self) -> int:
        return len(self._source)

    def gather(self, positions: np.ndarray) -> Element:
        return self._source.gather(positions)

    def tasks(self, state: State, epoch: int) -> Tasks:
        return _in_order(self, np.arange(len(self)), state)


class FromFolder(FromSource):
    """The images of a folder; ``classes`` are the names of its sub-folders, in the order of the labels."""

    def __init__(self, source: Images) -> None:
        super().__init__(source)
        self.classes = source.classes


def _only(dataset: Dataset, at: np.ndarray) -> Element:
    """The element at a place, given as an array of one position."""
    return tree.map(lambda a: a[0], dataset.gather(at))


def _together(group: list[tuple[Task, State]]) -> Element:
    return stacked([task() for task, _ in group])


def _in_order(dataset: Dataset, order: np.ndarray, state: State) -> Tasks:
    """One element after the other, by an order of the positions."""
    for i in range(state.get("index", 0), len(order)):
        at = order[i : i + 1]
        yield partial(_only, dataset, at), {"index": i + 1}


class FromIterator(Dataset):
    """The elements of an iterable that a function makes anew for every pass."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __repr__(self) -> str:
        return f"Dataset({name_of(self._make)})"

    def tasks(self, state: State, epoch: int) -> Tasks:
        done, count, elements = state.get("index", 0), 0, self._make()
        if not isinstance(elements, Iterable):
            raise DataError(
                f"from_iterator: {name_of(self._make)} makes an iterable for every pass; found {elements!r}. Does it end in"
                " return, or yield?"
            )
        for count, element in enumerate(elements, 1):
            if count > done:
                yield partial(known, element), {"index": count}
        refuse_shorter(count, done)


class _Step(Dataset):
    """A data set made of another."""

    _kept: Any = None
    _called = ""  # the method, and the fields that are its arguments
    _shown: tuple[str, ...] = ()

    def __init__(self, of: Dataset) -> None:
        self._of = of

    def __len__(self) -> int:
        return len(self._of)

    def __repr__(self) -> str:
        given = [(n, getattr(self, f"_{n}")) for n in self._shown]
        told = [name_of(v) if callable(v) else f"{n}={v}" for n, v in given if v is not None]
        return f"{self._of!r}.{self._called}({', '.join(told)})"


class _Map(_Step):
    _called, _shown = "map", ("f", "seed", "key")
    _kept = ("index", "of")

    def __init__(self, of: Dataset, f: Any, seed: int | None, key: Any, counted: bool = False) -> None:
        super().__init__(of)
        if seed is not None and key is not None:
            raise DataError("map takes seed= (for NumPy's generators) or key= (for keys of fx.random), not both")
        self._f, self._seed, self._key, self._counted = f, seed, key, counted

    def tasks(self, state: State, epoch: int) -> Tasks:
        start = state.get("index", 0)
        for i, (task, inner) in enumerate(self._of.tasks(state.get("of", {}), epoch), start):
            yield partial(self._applied, task, epoch, i), {"index": i + 1, "of": inner}

    def _applied(self, task: Task, epoch: int, i: int) -> Element:
        element = task()
        if self._counted:
            return self._f(i, element)
        if self._seed is not None:
            return mapped(self._f, i, seeded(self._seed, epoch, i), element)
        if self._key is not None:
            return mapped(self._f, i, random.fold_in(random.fold_in(self._key, epoch), i), element)
        return mapped(self._f, i, element)


class _Filter(_Step):
    _called, _shown = "filter", ("keep",)

    def __init__(self, of: Dataset, keep: Callable[[Element], Any]) -> None:
        super().__init__(of)
        self._keep = keep

    def __len__(self) -> int:
        return Dataset.__len__(self)

    def tasks(self, state: State, epoch: int) -> Tasks:
        for task, inner in self._of.tasks(state, epoch):
            element = task()
            if kept(self._keep, element):
                yield partial(known, element), inner


class _Shuffle(_Step):
    _called, _shown = "shuffle", ("seed",)
    _kept = ("index",)

    def __init__(self, of: Dataset, seed: int) -> None:
        super().__init__(of)
        # a map of elements commutes with their order: the order is taken below it
        below = of
        self._maps: list[_Map] = []
        while isinstance(below, _Map) and below._seed is None and below._key is None and not below._counted:
            self._maps.insert(0, below)
            below = below._of
        if below.positions is None:
            raise DataError("shuffle: elements that come one by one need a buffer: shuffle(seed, buffer=1000)")
        self._below, self._seed = below, seed

    @property
    def positions(self) -> int | None:
        return None

    def order(self, epoch: int) -> np.ndarray:
        return permutation(len(self._of), self._seed, epoch)

    def tasks(self, state: State, epoch: int) -> Tasks:
        for task, after in _in_order(self._below, self.order(epoch), state):
            yield partial(self._mapped, task, after["index"] - 1), after

    def _mapped(self, task: Task, i: int) -> Element:
        element = task()
        for step in self._maps:
            element = mapped(step._f, i, element)
        return element


class _BufferShuffle(_Step):
    _called, _shown = "shuffle", ("seed", "buffer")
    _kept = ("index",)

    def __init__(self, of: Dataset, seed: int, buffer: int) -> None:
        super().__init__(of)
        if not _counts(buffer, 1):
            raise DataError(f"shuffle takes a buffer of at least one element; found {buffer!r}")
        self._seed, self._buffer = seed, buffer

    def tasks(self, state: State, epoch: int) -> Tasks:
        rng, waiting = seeded(self._seed, epoch), []
        source = self._of.tasks({}, epoch)
        done, count = state.get("index", 0), 0
        for task, _ in itertools.chain(source, itertools.repeat((None, None))):
            if task is not None:
                waiting.append(task)
                if len(waiting) < self._buffer:
                    continue
            if not waiting:
                return refuse_shorter(count, done)
            at = int(rng.bit_generator.random_raw() % len(waiting))
            waiting[at], waiting[-1] = waiting[-1], waiting[at]
            drawn, count = waiting.pop(), count + 1
            if count > done:
                yield drawn, {"index": count}


class _Batch(_Step):
    _called, _shown = "batch", ("size", "drop_last")

    def __init__(self, of: Dataset, size: int, drop_last: bool) -> None:
        super().__init__(of)
        self._size, self._drop_last = size, drop_last

    def __len__(self) -> int:
        n = len(self._of)
        return n // self._size if self._drop_last else -(-n // self._size)

    def tasks(self, state: State, epoch: int) -> Tasks:
        of = self._of
        if isinstance(of, FromSource):
            return self._gathered(of, np.arange(len(of)), state)
        if isinstance(of, _Shuffle) and not of._maps:
            return self._gathered(of._below, of.order(epoch), state)
        return self._collected(state, epoch)

    def _gathered(self, source: Dataset, order: np.ndarray, state: State) -> Tasks:
        """Whole batches at once, from where elements can be taken in any order."""
        for i in range(state.get("index", 0), len(order), self._size):
            at = order[i : i + self._size]
            if len(at) == self._size or not self._drop_last:
                yield partial(source.gather, at), {"index": i + len(at)}

    def _collected(self, state: State, epoch: int) -> Tasks:
        tasks = self._of.tasks(state, epoch)
        while group := list(itertools.islice(tasks, self._size)):
            if len(group) == self._size or not self._drop_last:
                yield partial(_together, group), group[-1][1]


class _Repeat(_Step):
    _called, _shown = "repeat", ("times",)
    _kept = ("epoch", "of")

    def __init__(self, of: Dataset, times: int | None) -> None:
        super().__init__(of)
        self._times = times

    def __len__(self) -> int:
        if self._times is None:
            raise TypeError("repeat() without end has no length")
        return self._times * len(self._of)

    def tasks(self, state: State, epoch: int) -> Tasks:
        inner = state.get("of", {})
        for n in itertools.count(state.get("epoch", 0)):
            if self._times is not None and n >= self._times:
                return
            empty = not inner
            for task, after in self._of.tasks(inner, epoch + n):
                empty = False
                yield task, {"epoch": n, "of": after}
            if empty:
                raise DataError("repeat: the data set is empty")
            inner = {}


class _Prefetch(_Step):
    _called, _shown = "prefetch", ("buffer", "threads")

    def __init__(self, of: Dataset, buffer: int, threads: int) -> None:
        super().__init__(of)
        self._buffer, self._threads = buffer, threads

    def tasks(self, state: State, epoch: int) -> Tasks:
        return Prefetched(self._of.tasks(state, epoch), self._buffer, self._threads)


class _Take(_Step):
    _called, _shown = "take", ("n",)
    _kept = ("index", "of")

    def __init__(self, of: Dataset, n: int) -> None:
        super().__init__(of)
        self._n = n

    def __len__(self) -> int:
        return min(self._n, len(self._of))

    def tasks(self, state: State, epoch: int) -> Tasks:
        done = state.get("index", 0)
        for i, (task, inner) in enumerate(self._of.tasks(state.get("of", {}), epoch), done):
            if i >= self._n:
                return
            yield task, {"index": i + 1, "of": inner}


class _Skip(_Step):
    _kept = ("index", "of")
    _called, _shown = "skip", ("n",)

    def __init__(self, of: Dataset, n: int) -> None:
        super().__init__(of)
        self._n = n

    def __len__(self) -> int:
        return max(len(self._of) - self._n, 0)

    def tasks(self, state: State, epoch: int) -> Tasks:
        done, passed = state.get("index", 0), 0 if "of" in state else self._n
        for i, (task, inner) in enumerate(
            itertools.islice(self._of.tasks(state.get("of", {}), epoch), passed, None), done
        ):
            yield task, {"index": i + 1, "of": inner}
