"""Zeros around what a convolution reads are its padding: those that ``pad`` writes, and those of a gradient where no window of a
pool was.

A kernel with zeros around it, the cotangent in the gradient of the weights, has less padding instead.
"""

from __future__ import annotations

from ..ir import Atom, Eqn, Graph, Literal, Var
from ..sizes import is_sized
from .rewrite import are_plain

__all__ = ["zeros"]

Around = tuple[tuple[int, int], ...]  # zeros before and behind, along each axis


def zeros(g: Graph) -> Graph:
    """Zeros around what convolutions read become their padding, where nobody else reads them."""
    names = {e.prim.name for e in g.eqns}
    if "conv_general_dilated" not in names or names.isdisjoint(_ZEROS):
        return g
    readers: dict[Var, list[tuple[Eqn, int]]] = {e.outputs[0]: [] for e in g.eqns if e.prim.name in _ZEROS}
    for e in g.eqns:
        for n, a in enumerate(e.inputs):
            if type(a) is Var and a in readers:
                readers[a].append((e, n))
    for a in g.outputs:
        readers.pop(a, None)  # type: ignore[arg-type]
    bare: dict[Atom, tuple[Atom, Around]] = {}
    eqns: list[Eqn] = []
    for e in g.eqns:
        for n, a in enumerate(e.inputs):
            if a in bare:
                e = _padded(e, n, *bare[a])
        v = e.outputs[0] if e.outputs else None
        if v in readers:
            around = _ZEROS[e.prim.name](e)
            if any(map(any, around)) and all(_takes(r, n, around) for r, n in readers[v]):
                x, eqn = _without(e, around)
                bare[v] = x, around
                eqns += eqn
                continue
        eqns.append(e)
    return g.replace(eqns=tuple(eqns)) if bare else g


def _zeros_of_pad(e: Eqn) -> Around:
    (x, value), config = e.inputs, e.params["padding_config"]
    if (
        type(value) is not Literal
        or is_sized(value.value)
        or value.value != 0
        or not are_plain(*(n for c in config for n in c))
    ):
        return ()
    if any(lo < 0 or hi < 0 or interior for lo, hi, interior in config) or 0 in [
        n for n in x.aval.shape if are_plain(n)
    ]:
        return ()
    return tuple([(lo, hi) for lo, hi, _ in config])


def _zeros_of_scatter(e: Eqn) -> Around:
    """Elements that no window of a pool covers."""
    p, (ct, *_) = e.params, e.inputs
    around = []
    for k, n in enumerate(p["operand_shape"]):
        count, taps, stride, low = (
            ct.aval.shape[k],
            p["window_dimensions"][k],
            p["window_strides"][k],
            p["padding"][k][0],
        )
        end = -low
        if are_plain(n, count, taps, low) and p["base_dilation"][k] == 1 and count and low >= 0:
            end += (count - 1) * stride + (taps - 1) * p["window_dilation"][k] + 1
            around.append((0, max(n - end, 0) if end > 0 else 0))
        else:
            around.append((0, 0))
    return tuple(around)


_ZEROS = {"pad": _zeros_of_pad, "window_scatter_add": _zeros_of_scatter}


def _takes(e: Eqn, n: int, around: Around) -> bool:
    """Whether zeros around an operand may be padding: they lie along spatial axes of a convolution."""
    if e.prim.name != "conv_general_dilated":
        return False
    spatial = e.params[("lhs_spec", "rhs_spec")[n]][2:]
    return all(axis in spatial for axis, there in enumerate(around) if any(there))


def _without(e: Eqn, around: Around) -> tuple[Atom, list[Eqn]]:
    """What has zeros around it, and the equation that computes it."""
    if e.prim.name == "pad":
        return e.inputs[0], []
    p = e.params
    shape = tuple([n - before - behind for n, (before, behind) in zip(p["operand_shape"], around)])
    pads = tuple([(lo, hi + behind) if behind else (lo, hi) for (lo, hi), (_, behind) in zip(p["padding"], around)])
    out = Var(e.outputs[0].aval.with_(shape=shape))
    return out, [e.replace(params={**p, "operand_shape": shape, "padding": pads}, outputs=(out,))]


def _padded(e: Eqn, n: int, x: Atom, around: Around) -> Eqn:
    """The convolution of operand ``n`` without the zeros around it: less of an image is padded more, less of a kernel less."""
    p = e.params
    axes = p[("lhs_spec", "rhs_spec")[n]][2:]
    each = p["rhs_dilation"] if n else p["lhs_dilation"]
    pads = []
    for (lo, hi), axis, apart in zip(p["padding"], axes, each):
        before, behind = (-a * apart if n else a * apart for a in around[axis])
        pads.append((lo + before, hi + behind))
    inputs = tuple([x if k == n else a for k, a in enumerate(e.inputs)])
    return e.replace(inputs=inputs, params={**p, "padding": tuple(pads)})
