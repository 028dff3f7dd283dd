"""The programs of ``fx.examples`` reach the ends they are written for."""

from __future__ import annotations

import numpy as np

import fx
from fx import random
from fx.examples import (
    gaussian_process,
    model_predictive_control,
    neural_ode,
    private_sgd,
    variational_inference,
)


def test_variational_inference_finds_the_posterior() -> None:
    x, y, _ = variational_inference.data()
    posterior = variational_inference.fit(random.key(2), x, y)
    mean, deviation = variational_inference.importance_sampled(posterior, x, y)
    np.testing.assert_allclose(posterior.mean, mean, atol=0.1)
    ratio = np.asarray(posterior.scale) / np.asarray(deviation)
    assert ((ratio > 0.7) & (ratio < 1.05)).all(), "a factorised Gaussian is at most as wide as the posterior"
    assert float(posterior.elbo[-100:].mean()) > float(posterior.elbo[0]) + 20


def test_private_gradients_are_those_of_single_examples_clipped() -> None:
    params = private_sgd.init(random.key(0), hidden=8)
    digits = fx.data.mnist().train
    images, labels = digits.images[:5], digits.labels[:5]
    found, norm = private_sgd.private_gradient(params, random.key(1), images, labels, 0.5, 0.0)
    total = [np.zeros(p.shape) for p in fx.tree.leaves(params)]
    for image, label in zip(images, labels):
        leaves = [np.asarray(g, np.float64) for g in fx.tree.leaves(fx.grad(private_sgd.loss)(params, image, label))]
        size = np.sqrt(sum((g**2).sum() for g in leaves))
        for t, g in zip(total, leaves):
            t += g * min(1.0, 0.5 / size) / len(images)
    for f, t in zip(fx.tree.leaves(found), total):
        np.testing.assert_allclose(f, t, rtol=1e-4, atol=1e-6)
    assert float(norm) <= 0.5 + 1e-5


def test_private_sgd_learns_and_keeps_its_bound() -> None:
    result = private_sgd.run(epochs=1)
    assert result.accuracy > 0.7 and result.largest_norm <= 1 + 1e-4
    assert private_sgd.epsilon(100, 1.0) > private_sgd.epsilon(100, 2.0) > 0
    assert private_sgd.epsilon(200, 1.0) > private_sgd.epsilon(100, 1.0)


def test_predictive_control_swings_the_pendulum_up() -> None:
    result = model_predictive_control.run(steps=110)
    angles = np.angle(np.exp(1j * result.states[:, 0]))
    assert abs(angles[0]) > 3.1 and np.abs(angles[-5:]).max() < 0.01
    assert np.abs(result.torques).max() <= model_predictive_control.STRONGEST
    assert (np.diff(result.first_plan) <= 1e-9).all(), "an iteration never makes the plan worse"


def test_the_gaussian_process_finds_function_and_noise() -> None:
    fit = gaussian_process.run(steps=120)
    assert fit.history[-1] > fit.history[0] + 20
    truth = np.sin(2 * np.linspace(-3, 3, 61))
    assert np.sqrt(np.mean((fit.mean - truth) ** 2)) < 0.15 and 0.12 < fit.scales["noise"] < 0.3
    assert np.mean(np.abs(fit.mean - truth) < 2 * fit.deviation) > 0.85


def test_the_marginal_likelihood_is_that_of_a_normal_distribution() -> None:
    x, y = gaussian_process.data(12)
    scales = {"amplitude": 1.3, "length": 0.7, "noise": 0.4}
    k = np.asarray(gaussian_process.kernel(scales, x, x)) + (0.4**2 + gaussian_process.JITTER) * np.eye(12)
    wanted = -0.5 * np.asarray(y) @ np.linalg.solve(k, y) - 0.5 * np.linalg.slogdet(2 * np.pi * k)[1]
    found = gaussian_process.log_likelihood({n: np.log(v) for n, v in scales.items()}, x, y)
    np.testing.assert_allclose(float(found), wanted, rtol=1e-6)


def test_the_neural_equation_forecasts_what_it_has_not_seen() -> None:
    result = neural_ode.run(steps=120)
    assert result.losses[-1] < 0.01 * result.losses[0]
    assert result.error < 0.25 and result.error < 0.2 * result.error_before
    assert result.truth.shape == result.found.shape == (21, 8, 2)
    radius = np.sqrt((result.truth**2).sum(-1))
    assert (radius[-1] < radius[0]).all(), "the spiral goes inwards"
