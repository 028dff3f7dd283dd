"""Functions of SciPy and scikit-learn on arrays of fx; a program of its own, as SciPy reads SCIPY_ARRAY_API on import.

Each is called on NumPy's arrays and on ours; ours come back, with NumPy's numbers.  Those that only compute can be
differentiated and compiled.  Prints one line per function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import scipy.fft
import scipy.integrate
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.special
import scipy.stats
import sklearn
from sklearn import linear_model, metrics, naive_bayes, preprocessing

import fx
import fx.numpy as fnp
from fx.errors import ConcretizationError

rng = np.random.default_rng(0)
X, T, P = rng.normal(size=(12, 3)), rng.normal(size=12), rng.random(12) + 0.2
Y, Z = rng.integers(0, 2, 12), rng.integers(0, 2, 12)

CALLS: dict[str, Callable[[Any], Any]] = {
    "sklearn.metrics.accuracy_score": lambda f: metrics.accuracy_score(f(Y), f(Z)),
    "sklearn.metrics.confusion_matrix": lambda f: metrics.confusion_matrix(f(Y), f(Z)),
    "sklearn.metrics.mean_absolute_error": lambda f: metrics.mean_absolute_error(f(T), f(P)),
    "sklearn.metrics.mean_squared_error": lambda f: metrics.mean_squared_error(f(T), f(P)),
    "sklearn.metrics.roc_auc_score": lambda f: metrics.roc_auc_score(f(Y), f(P)),
    "sklearn.metrics.pairwise.rbf_kernel": lambda f: metrics.pairwise.rbf_kernel(f(X), f(X[:5])),
    "sklearn.preprocessing.KernelCenterer": lambda f: preprocessing.KernelCenterer().fit_transform(f(X @ X.T)),
    "sklearn.preprocessing.LabelEncoder": lambda f: preprocessing.LabelEncoder().fit_transform(f(Y)),
    "scipy.special.softmax": lambda f: scipy.special.softmax(f(X), axis=1),
    "scipy.special.gammaln": lambda f: scipy.special.gammaln(f(P)),
    "scipy.special.xlogy": lambda f: scipy.special.xlogy(f(P), f(P)),
    "scipy.stats.skew": lambda f: scipy.stats.skew(f(X), axis=0),
    "scipy.stats.kurtosis": lambda f: scipy.stats.kurtosis(f(X), axis=0),
    "scipy.stats.ttest_1samp": lambda f: tuple(scipy.stats.ttest_1samp(f(T), 0.0)),
    "scipy.stats.gmean": lambda f: scipy.stats.gmean(f(P)),
    "scipy.fft.fft": lambda f: scipy.fft.fft(f(T)),
    "scipy.fft.dct": lambda f: scipy.fft.dct(f(T)),
    "scipy.integrate.cumulative_trapezoid": lambda f: scipy.integrate.cumulative_trapezoid(f(T)),
    "scipy.ndimage.gaussian_filter": lambda f: scipy.ndimage.gaussian_filter(f(X), 1.0),
    "scipy.signal.detrend": lambda f: scipy.signal.detrend(f(T)),
}
ASSIGNING: dict[str, Callable[[Any], Any]] = {
    "sklearn.preprocessing.StandardScaler": lambda f: preprocessing.StandardScaler().fit_transform(f(X)),
    "sklearn.preprocessing.PolynomialFeatures": lambda f: preprocessing.PolynomialFeatures().fit_transform(f(X)),
    "sklearn.linear_model.Ridge": lambda f: linear_model.Ridge(solver="svd").fit(f(X), f(T)).predict(f(X)),
    "sklearn.naive_bayes.GaussianNB": lambda f: naive_bayes.GaussianNB().fit(f(X), f(Y)).predict(f(X)),
    "scipy.stats.pearsonr": lambda f: tuple(scipy.stats.pearsonr(f(T), f(P)))[:2],
    "scipy.stats.zscore": lambda f: scipy.stats.zscore(f(T)),
    "scipy.special.logsumexp": lambda f: scipy.special.logsumexp(f(T)),
    "scipy.signal.hilbert": lambda f: scipy.signal.hilbert(f(T)),
}
"""These assign items, as the standard allows."""
SMOOTH: dict[str, Callable[[Any], Any]] = {
    "scipy.stats.skew": scipy.stats.skew,
    "scipy.stats.kurtosis": scipy.stats.kurtosis,
    "scipy.stats.gmean": scipy.stats.gmean,
    "scipy.special.softmax": lambda v: scipy.special.softmax(v)[0],
    "scipy.integrate.trapezoid": scipy.integrate.trapezoid,
    "scipy.optimize.rosen": scipy.optimize.rosen,
}


_STATS_LOOK = tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 18)


def check(name: str, call: Callable[[Any], Any]) -> None:
    want, got = call(np.asarray), call(fnp.asarray)
    for w, g in zip(*[v if isinstance(v, tuple) else (v,) for v in (want, got)]):
        assert isinstance(g, float) or type(g) is fx.Array, (name, type(g))
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=1e-6, err_msg=name)


def check_transforms(name: str, f: Callable[[Any], Any]) -> None:
    step = 1e-6 * np.cos(np.arange(6.0))
    slope = (f(P[:6] + step) - f(P[:6] - step)) / 2
    np.testing.assert_allclose(np.sum(np.asarray(fx.grad(f)(P[:6])) * step), slope, rtol=1e-5, err_msg=name)
    try:
        compiled = fx.jit(f)(P[:6])
    except ConcretizationError:  # from SciPy 1.18 on, these look for NaN unless the arrays are JAX's
        assert name.startswith("scipy.stats.") and _STATS_LOOK, name
    else:
        np.testing.assert_allclose(np.asarray(compiled), f(P[:6]), rtol=1e-6, err_msg=name)


if __name__ == "__main__":
    sklearn.set_config(array_api_dispatch=True)
    for name, call in CALLS.items():
        check(name, call)
        print(name)
    with fx.config.using(array_api=True):
        for name, call in {**CALLS, **ASSIGNING}.items():
            check(name, call)
            print(name, "as the standard has it")
    with fx.config.using(backend="reference"):
        for name, f in SMOOTH.items():
            check_transforms(name, f)
            print(name, "differentiated and compiled")
