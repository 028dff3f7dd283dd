"""Model predictive control: a pendulum is swung up and held, by an iterative LQR made of two scans.

``python -m fx.examples.model_predictive_control``

Each iteration rolls the dynamics out (``scan``), linearizes them and takes the cost's second-order expansion along the
trajectory (``vmap`` of ``jacobian`` and ``hessian``), and runs the Riccati recursion backwards (``scan`` with
``reverse``).  The controller plans from the present state, applies the first control, and plans again.

Source: Tassa, Mansard, Todorov, "Control-Limited Differential Dynamic Programming" (2014).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import fx
import fx.numpy as jnp
from fx import lax

STEP = 0.05  # seconds
HORIZON = 60
STRONGEST = 4.0  # torque; gravity needs up to 9.81, so the pendulum must be swung


def dynamics(state: Any, control: Any) -> Any:
    """Angle (0 is upright) and angular velocity one step later, by the midpoint rule."""

    def speed(s: Any) -> Any:
        torque = STRONGEST * jnp.tanh(control[0])
        return jnp.stack([s[1], 9.81 * jnp.sin(s[0]) + torque - 0.1 * s[1]])

    return state + STEP * speed(state + 0.5 * STEP * speed(state))


def cost(state: Any, control: Any) -> Any:
    """Far from upright is dear, and so are speed and effort, a little."""
    return state[0] ** 2 + 0.05 * state[1] ** 2 + 0.02 * jnp.sum(control**2)


def final_cost(state: Any) -> Any:
    return 10.0 * cost(state, jnp.zeros(1, state.dtype))


def rollout(start: Any, controls: Any) -> Any:
    """The states that the controls lead through, the first one included."""
    _, states = lax.scan(lambda s, u: (dynamics(s, u),) * 2, start, controls)
    return jnp.concatenate([start[None], states])


def total_cost(start: Any, controls: Any) -> Any:
    states = rollout(start, controls)
    return jnp.sum(fx.vmap(cost)(states[:-1], controls)) + final_cost(states[-1])


class Gains(NamedTuple):
    """u = old u + step * open + feedback (x - old x)."""

    open: Any
    feedback: Any


def backward(states: Any, controls: Any) -> Gains:
    """The Riccati recursion on the expansion along the trajectory."""
    f_x, f_u = fx.vmap(fx.jacobian(dynamics, (0, 1)))(states[:-1], controls)
    c_x, c_u = fx.vmap(fx.grad(cost, (0, 1)))(states[:-1], controls)
    (c_xx, _), (c_ux, c_uu) = fx.vmap(fx.hessian(cost, (0, 1)))(states[:-1], controls)
    last = states[-1]

    def step(value: Any, at: Any) -> Any:
        v_x, v_xx = value
        f_x, f_u, c_x, c_u, c_xx, c_ux, c_uu = at
        q_x, q_u = c_x + f_x.T @ v_x, c_u + f_u.T @ v_x
        q_xx = c_xx + f_x.T @ v_xx @ f_x
        q_ux = c_ux + f_u.T @ v_xx @ f_x
        q_uu = c_uu + f_u.T @ v_xx @ f_u + 1e-3 * jnp.eye(len(q_u), dtype=v_x.dtype)
        inverse = 1.0 / q_uu  # one control
        gains = Gains(-inverse @ q_u, -inverse @ q_ux)
        v_x = q_x + gains.feedback.T @ q_u
        v_xx = q_xx + gains.feedback.T @ q_ux
        return (v_x, 0.5 * (v_xx + v_xx.T)), gains

    value = fx.grad(final_cost)(last), fx.hessian(final_cost)(last)
    _, gains = lax.scan(step, value, (f_x, f_u, c_x, c_u, c_xx, c_ux, c_uu), reverse=True)
    return gains


def forward(states: Any, controls: Any, gains: Gains, size: Any) -> Any:
    """New controls for one step size."""

    def step(state: Any, at: Any) -> Any:
        old, control, gain = at
        new = control + size * gain.open + gain.feedback @ (state - old)
        return dynamics(state, new), new

    return lax.scan(step, states[0], (states[:-1], controls, gains))[1]


@fx.jit
def plan(start: Any, controls: Any) -> tuple[Any, Any]:
    """Controls improved by some iterations; each takes the best of several step sizes, or none."""
    sizes = 2.0 ** -jnp.arange(6, dtype=start.dtype)

    def iteration(controls: Any, _: Any) -> Any:
        states = rollout(start, controls)
        gains = backward(states, controls)
        candidates = fx.vmap(lambda size: forward(states, controls, gains, size))(sizes)
        candidates = jnp.concatenate([controls[None], candidates])
        costs = fx.vmap(lambda u: total_cost(start, u))(candidates)
        best = jnp.nanargmin(costs)
        return candidates[best], costs[best]

    return lax.scan(iteration, controls, None, length=10)


class Run(NamedTuple):
    """states (steps + 1, 2), controls (steps,) as torques, costs of the first plan's iterations."""

    states: Any
    torques: Any
    first_plan: Any


def run(steps: int = 140) -> Run:
    """From hanging down, plans and acts."""
    state = jnp.asarray([np.pi, 0.0], dtype=jnp.float64)
    controls = 0.1 * jnp.sin(jnp.arange(HORIZON, dtype=jnp.float64))[:, None]
    states, torques, first = [state], [], None
    advance = fx.jit(dynamics)
    for _ in range(steps):
        controls, costs = plan(state, controls)
        first = costs if first is None else first
        torques.append(float(STRONGEST * jnp.tanh(controls[0, 0])))
        state = advance(state, controls[0])
        states.append(state)
        controls = jnp.concatenate([controls[1:], controls[-1:]])
    return Run(np.stack([np.asarray(s) for s in states]), np.asarray(torques), np.asarray(first))


def main() -> None:
    result = run()
    angles = np.degrees(np.angle(np.exp(1j * result.states[:, 0])))
    print(f"cost of the first plan: {result.first_plan[0]:.1f} -> {result.first_plan[-1]:.1f}")
    for k in range(0, len(angles), 20):
        print(f"{k * STEP:4.1f} s  {angles[k]:7.1f} degrees from upright")
    print(
        f"strongest torque {np.abs(result.torques).max():.2f} of {STRONGEST}, last second within"
        f" {np.abs(angles[-20:]).max():.2f} degrees"
    )


if __name__ == "__main__":
    main()
