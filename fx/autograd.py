"""The differential operators of autograd, by their names: ``from fx.autograd import grad, elementwise_grad``.

A program written for autograd runs with its import lines changed: ``autograd`` becomes ``fx.autograd``, ``autograd.numpy``
is NumPy itself (or ``fx.numpy``), ``autograd.scipy`` is ``scipy.special`` or ``fx.scipy``; ``autograd.misc.flatten`` is
``fx.flatten_util.ravel_pytree``, and its optimizers stand in ``fx.optim``.  Every operator takes ``argnum``, the position
(or a tuple of positions) that is differentiated.  As in autograd, a Python number that is differentiated is float64 (or
complex128), where ``fx.grad`` takes it for the default float; and a function whose result is an array of one element has a
gradient.

Source: Maclaurin, Duvenaud, Adams, "Autograd: Effortless gradients in NumPy" (2015).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from . import tree
from .api import grad as _grad
from .api import hessian as _hessian
from .api import jacobian as _jacobian
from .api import jvp, vjp
from .api import value_and_grad as _value_and_grad
from .errors import CustomRuleError
from .numpy import ones_like, reshape, tensordot, zeros_like
from .signatures import signature_of
from .trace import aval_of
from .transforms.checkpoint import checkpoint
from .transforms.custom_vjp import custom_vjp

__all__ = [
    "checkpoint", "defvjp", "deriv", "elementwise_grad", "grad", "grad_and_aux", "grad_named", "hessian", "hessian_tensor_product",
    "hessian_vector_product", "holomorphic_grad", "jacobian", "make_ggnvp", "make_hvp", "make_jvp", "make_vjp", "multigrad_dict",
    "primitive", "tensor_jacobian_product", "value_and_grad", "vector_jacobian_product",
]  # fmt: skip

Function = Callable[..., Any]
Position = int | tuple[int, ...]


def _double(x: Any) -> Any:
    return np.float64(x) if type(x) is float else np.complex128(x) if type(x) is complex else x


def _of(fun: Function, argnum: Position, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Function, Any]:
    """``fun`` as a function of one argument alone (of a tuple of them), and what it is."""
    places = (argnum,) if isinstance(argnum, int) else tuple(argnum)

    def of_one(x: Any) -> Any:
        given = list(args)
        for place, v in zip(places, (x,) if isinstance(argnum, int) else x):
            given[place] = v
        return fun(*given, **kwargs)

    at = tree.map(_double, tuple([args[i] for i in places]))
    return of_one, at[0] if isinstance(argnum, int) else at


def _in_doubles(derivative: Function, argnum: Position) -> Function:
    """A derivative of fx that takes Python numbers at the positions ``argnum`` for float64."""

    @functools.wraps(derivative)
    def at(*args: Any, **kwargs: Any) -> Any:
        given = list(args)
        for place in (argnum,) if isinstance(argnum, int) else argnum:
            if -len(given) <= place < len(given):  # what is not there, the derivative tells about
                given[place] = tree.map(_double, given[place])
        return derivative(*given, **kwargs)

    return at


def _to_scalar(y: Any) -> Any:
    shape = getattr(y, "shape", ())
    return reshape(y, ()) if shape and all(n == 1 for n in shape) else y


def _scalar(fun: Function) -> Function:
    """``fun``, an array of one element as the number that it holds."""

    @functools.wraps(fun)
    def scalar(*args: Any, **kwargs: Any) -> Any:
        return _to_scalar(fun(*args, **kwargs))

    return scalar


def grad(fun: Function, argnum: Position = 0) -> Function:
    """The gradient of a scalar function.

    >>> grad(lambda x: np.sum(np.tanh(x)))(np.zeros(2))
    Array([1., 1.], dtype=float64)
    """
    return _in_doubles(_grad(_scalar(fun), argnums=argnum), argnum)


def value_and_grad(fun: Function, argnum: Position = 0) -> Function:
    """The value of a scalar function and its gradient, as ``scipy.optimize.minimize(..., jac=True)`` wants them."""

    @functools.wraps(fun)
    def with_value(*args: Any, **kwargs: Any) -> Any:
        y = fun(*args, **kwargs)
        return _to_scalar(y), y

    both = _value_and_grad(with_value, argnums=argnum, has_aux=True)

    @functools.wraps(fun)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        (_, value), gradient = both(*args, **kwargs)
        return value, gradient

    return _in_doubles(value_and_gradient, argnum)


def holomorphic_grad(fun: Function, argnum: Position = 0) -> Function:
    """The complex derivative of a holomorphic function."""
    return _in_doubles(_grad(_scalar(fun), argnums=argnum, holomorphic=True), argnum)


def grad_named(fun: Function, argname: str) -> Function:
    """The gradient by the positional parameter of that name."""
    return grad(fun, list(signature_of(fun).parameters).index(argname))


def grad_and_aux(fun: Function, argnum: Position = 0) -> Function:
    """Of a function of two results: the gradient of the first, and the second."""

    @functools.wraps(fun)
    def scalar(*args: Any, **kwargs: Any) -> Any:
        y, aux = fun(*args, **kwargs)
        return _to_scalar(y), aux

    return _in_doubles(_grad(scalar, argnums=argnum, has_aux=True), argnum)


def multigrad_dict(fun: Function) -> Function:
    """The gradient by every argument, as a dict from parameter names.

    >>> multigrad_dict(lambda x, y: x * y)(2.0, y=3.0)
    {'x': Array(3., dtype=float64), 'y': Array(2., dtype=float64)}
    """
    signature = signature_of(fun)

    def gradients(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()

        def of_all(arguments: dict[str, Any]) -> Any:
            again = inspect.BoundArguments(signature, arguments)  # type: ignore[arg-type]
            return _to_scalar(fun(*again.args, **again.kwargs))

        found: dict[str, Any] = _grad(of_all)(tree.map(_double, dict(bound.arguments)))
        return found

    return gradients


def elementwise_grad(fun: Function, argnum: Position = 0) -> Function:
    """The sums of the columns of the Jacobian: for an elementwise function, its derivative at each element.

    >>> elementwise_grad(np.tanh)(np.zeros(3))
    Array([1., 1., 1.], dtype=float64)
    """

    def slope(*args: Any, **kwargs: Any) -> Any:
        f, x = _of(fun, argnum, args, kwargs)
        y, pull = vjp(f, x)
        return pull(ones_like(y))[0]

    return slope


def deriv(fun: Function, argnum: int = 0) -> Function:
    """The derivative by a scalar argument, of a result of any shape, in forward mode."""

    def slope(*args: Any, **kwargs: Any) -> Any:
        f, x = _of(fun, argnum, args, kwargs)
        return jvp(f, (x,), (ones_like(x),))[1]

    return slope


def jacobian(fun: Function, argnum: Position = 0) -> Function:
    """All derivatives: an array of the result's shape followed by the argument's."""
    return _in_doubles(_jacobian(fun, argnums=argnum), argnum)


def hessian(fun: Function, argnum: int = 0) -> Function:
    """The second derivatives of a scalar function."""
    return _in_doubles(_hessian(fun, argnums=argnum), argnum)


def make_vjp(fun: Function, argnum: Position = 0) -> Function:
    """``make_vjp(f)(x)`` is the function from a cotangent to its vector-Jacobian product at x, and f(x)."""

    def at(*args: Any, **kwargs: Any) -> tuple[Function, Any]:
        y, pull = vjp(*_of(fun, argnum, args, kwargs))
        return lambda ct: pull(tree.map(_double, ct))[0], y

    return at


def make_jvp(fun: Function, argnum: Position = 0) -> Function:
    """``make_jvp(f)(x)`` is the function from a tangent to (f(x), its Jacobian-vector product at x)."""

    def at(*args: Any, **kwargs: Any) -> Function:
        f, x = _of(fun, argnum, args, kwargs)
        return lambda tangent: jvp(f, (x,), (tree.map(_double, tangent),))

    return at


def make_hvp(fun: Function, argnum: int = 0) -> Function:
    """``make_hvp(f)(x)`` is the function from a vector to its product with the Hessian at x, and the gradient at x."""
    return make_vjp(grad(fun, argnum), argnum)


def _half_square(y: Any) -> Any:
    return 0.5 * np.sum(y**2)


def make_ggnvp(f: Function, g: Function = _half_square, f_argnum: int = 0) -> Function:
    """Products with the generalised Gauss-Newton matrix of ``g(f(x))``: ``J' H J v``, H the Hessian of g, J the Jacobian of f."""

    def at(*args: Any, **kwargs: Any) -> Function:
        of_one, x = _of(f, f_argnum, args, kwargs)
        y, pull = vjp(of_one, x)

        def product(v: Any) -> Any:
            jv = jvp(of_one, (x,), (tree.map(_double, v),))[1]
            return pull(jvp(_grad(_scalar(g)), (y,), (jv,))[1])[0]

        return product

    return at


def hessian_tensor_product(fun: Function, argnum: int = 0) -> Function:
    """``(*args, tensor)`` to the Hessian contracted with the tensor, without making the Hessian.

    >>> hessian_tensor_product(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    Array([6., 0.], dtype=float64)
    """

    def product(*args: Any, **kwargs: Any) -> Any:
        f, x = _of(fun, argnum, args[:-1], kwargs)
        return jvp(_grad(_scalar(f)), (x,), (tree.map(_double, args[-1]),))[1]

    return product


def tensor_jacobian_product(fun: Function, argnum: int = 0) -> Function:
    """``(*args, tensor)`` to the Jacobian, its leading axes contracted with all axes of the tensor."""

    def product(*args: Any, **kwargs: Any) -> Any:
        f, x = _of(fun, argnum, args[:-1], kwargs)
        tensor = args[-1]
        return _jacobian(lambda x: tensordot(tensor, f(x), len(aval_of(tensor).shape)))(x)

    return product


hessian_vector_product = hessian_tensor_product
vector_jacobian_product = tensor_jacobian_product


# ---------------------------------------------------------------------------------------- autograd.extend


def primitive(fun: Function) -> Function:
    """A function whose derivative ``defvjp`` gives.

    >>> @primitive
    ... def log_sum_exp(x):
    ...     return np.log(np.sum(np.exp(x)))
    >>> defvjp(log_sum_exp, lambda ans, x: lambda g: g * np.exp(x - ans))
    >>> grad(log_sum_exp)(np.zeros(4))
    Array([0.25, 0.25, 0.25, 0.25], dtype=float64)
    """
    call = custom_vjp(fun)

    @functools.wraps(fun)
    def wrapped(*args: Any) -> Any:
        return call(*args)

    wrapped.custom_vjp = call  # type: ignore[attr-defined]
    return wrapped


def defvjp(fun: Function, *makers: Function | None, argnums: tuple[int, ...] | None = None) -> None:
    """Gives a ``primitive`` its derivative: for each argument ``(ans, *args) -> (cotangent -> vector-Jacobian product)``.

    Args:
        makers: None for an argument whose derivative is zero.
        argnums: the arguments that the makers belong to; the first ones if it is not given.

    Raises:
        CustomRuleError: ``fun`` is not a ``primitive``.
    """
    rule = getattr(fun, "custom_vjp", None)
    if rule is None:
        raise CustomRuleError(f"defvjp gives a rule to a function decorated with fx.autograd.primitive; found {fun!r}")
    by_place = dict(zip(argnums or range(len(makers)), makers))

    def forward(*args: Any) -> tuple[Any, Any]:
        ans = rule(*args)
        return ans, (ans, args)

    def backward(residuals: Any, ct: Any) -> tuple[Any, ...]:
        ans, args = residuals
        makers = [by_place.get(i) for i in range(len(args))]
        return tuple([tree.map(zeros_like, x) if m is None else m(ans, *args)(ct) for m, x in zip(makers, args)])

    rule.defvjp(forward, backward)
