"""Sinking: sums that a loop collects become one reduction behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..ir import Atom, Eqn, Graph, Var
from .rewrite import split, with_subgraphs

__all__ = ["sink"]

MOST_BYTES = 1 << 26  # of stacked operands, unless the loop's own xs take more
SHAPING = frozenset(("transpose", "reshape", "squeeze", "expand_dims", "broadcast_in_dim"))


def sink(g: Graph) -> Graph:
    """Takes carries that only collect sums of products out of scans; inner loops first.

    A carry with ``c' = c + a_t @ b_t``, as transposing a loop makes for the weights that its body multiplies by, costs
    a pass over all of ``c`` in every iteration, and products with few terms each.  With ``a`` and ``b`` stacked it is one
    product behind the loop that contracts over the iterations too.  Sums of what is stacked anyway (the gradient of a
    bias) follow.  It is done where stacking takes no more than the carry; the order of the additions changes.
    """
    eqns: list[Eqn] = []
    for e in g.eqns:
        e = with_subgraphs(e, _once)
        if e.prim.name == "scan" and e.params["length"] > 1:
            eqns += _Sinking(e).equations()
        else:
            eqns.append(e)
    return g.replace(eqns=tuple(eqns))


def _once(g: Graph) -> Graph:
    done: Graph = g.memo(("pass", sink), lambda: sink(g))
    return done


@dataclass
class _Sum:
    """A carry that collects: ``add`` is c + t, ``reduction`` the equation that t comes from, ``shaping`` what stands
    between."""

    carry: int
    add: Eqn
    reduction: Eqn
    shaping: list[Eqn] = field(default_factory=list)


class _Sinking:
    """One scan."""

    def __init__(self, e: Eqn) -> None:
        self.e = e
        self.body: Graph = e.params["graph"]
        self.length: int = e.params["length"]
        n, m = e.params["n_consts"], e.params["n_carry"]
        self.v_consts, self.v_carry, self.v_xs = split(self.body.inputs, n, m)
        self.consts, self.init, self.xs = split(e.inputs, n, m)
        self.uses = Counter(a for x in self.body.eqns for a in x.inputs if type(a) is Var)
        self.uses.update(a for a in self.body.outputs if type(a) is Var)
        self.producers = {v: x for x in self.body.eqns for v in x.outputs}
        # what is stacked, by variable of the body, as values of the surrounding graph
        self.stacked: dict[Var, Atom] = dict(zip(self.v_xs, self.xs))
        for a, v in zip(self.body.outputs[m:], e.outputs[m:]):
            if type(a) is Var and a not in self.v_carry and a not in self.v_consts:
                self.stacked.setdefault(a, v)
        self.new: dict[Var, Var] = {}  # what is stacked for this

    def equations(self) -> list[Eqn]:
        sums = [s for k in range(len(self.v_carry)) if (s := self._collects(k)) is not None]
        products = [s for s in sums if s.reduction.prim.name == "dot_general" and self._stack(s)]
        plain = [s for s in sums if s.reduction.prim.name == "reduce_sum" and s.reduction.inputs[0] in self.stacked]
        chosen = [*products, *plain]
        if not chosen:
            return [self.e]
        gone = {s.carry for s in chosen}
        adds = {id(s.add) for s in chosen}
        m = len(self.v_carry)
        keep = [k for k in range(m) if k not in gone]
        body = self.body.replace(
            inputs=(*self.v_consts, *[self.v_carry[k] for k in keep], *self.v_xs),
            eqns=tuple(x for x in self.body.eqns if id(x) not in adds),
            outputs=(*[self.body.outputs[k] for k in keep], *self.body.outputs[m:], *self.new),
            input_names=None,
        )
        outs = self.e.outputs
        scan = self.e.replace(
            inputs=(*self.consts, *[self.init[k] for k in keep], *self.xs),
            params={**self.e.params, "graph": body, "n_carry": len(keep)},
            outputs=(*[outs[k] for k in keep], *outs[m:], *self.new.values()),
        )
        return [scan, *(x for s in chosen for x in self._behind(s))]

    def _collects(self, k: int) -> _Sum | None:
        """The sum that carry ``k`` collects, if it does nothing else."""
        c, out = self.v_carry[k], self.body.outputs[k]
        add = self.producers.get(out) if isinstance(out, Var) else None
        if (
            not isinstance(out, Var)
            or add is None
            or add.prim.name != "add"
            or self.uses[c] != 1
            or self.uses[out] != 1
            or c not in add.inputs
        ):
            return None
        t = add.inputs[1] if add.inputs[0] is c else add.inputs[0]
        shaping: list[Eqn] = []
        while type(t) is Var and t in self.producers and self.uses[t] == 1:
            x = self.producers[t]
            if x.prim.name in ("dot_general", "reduce_sum"):
                varies = all(type(a) is Var and a not in self.v_consts for a in x.inputs)
                return _Sum(k, add, x, shaping[::-1]) if varies else None
            if x.prim.name not in SHAPING:
                return None
            shaping.append(x)
            t = x.inputs[0]
        return None

    def _stack(self, s: _Sum) -> bool:
        """Stacks the operands of a product, if that takes no more than the carry does."""
        lacking = [a for a in dict.fromkeys(s.reduction.inputs) if type(a) is Var and a not in self.stacked]
        nbytes = sum(a.aval.nbytes for a in lacking)
        most = max(MOST_BYTES, sum(x.aval.nbytes for x in self.xs))
        if nbytes > self.v_carry[s.carry].aval.nbytes or nbytes * self.length > most:
            return False
        for a in lacking:
            self.stacked[a] = self.new[a] = Var(a.aval.strong().with_(shape=(self.length, *a.aval.shape)))
        return True

    def _behind(self, s: _Sum) -> list[Eqn]:
        """The reduction over all iterations, and what is added to the initial value."""
        x = s.reduction
        inputs: Sequence[Atom] = [self.stacked[a] for a in x.inputs]  # type: ignore[index]
        if x.prim.name == "dot_general":
            (lc, rc), (lb, rb) = x.params["dimension_numbers"]
            contract = (0, *(d + 1 for d in lc)), (0, *(d + 1 for d in rc))
            batch = tuple(d + 1 for d in lb), tuple(d + 1 for d in rb)
            params = {**x.params, "dimension_numbers": (contract, batch)}
        else:
            params = {**x.params, "axes": (0, *(d + 1 for d in x.params["axes"]))}
        value = Var(x.outputs[0].aval)
        eqns = [x.replace(inputs=tuple(inputs), params=params, outputs=(value,))]
        for y in s.shaping:
            after = Var(y.outputs[0].aval)
            eqns.append(y.replace(inputs=(value, *y.inputs[1:]), outputs=(after,)))
            value = after
        eqns.append(s.add.replace(inputs=(self.init[s.carry], value), outputs=(self.e.outputs[s.carry],)))
        return eqns
