"""The costs of cheetah-run, finger-spin and half-cheetah against the rewards that they stand for."""

import math

import numpy as np
import pytest
import torch

from models.dynamics import Rollout
from robot_ctrl.task import Task
from robot_ctrl.tasks.cheetah_run import CheetahRun
from robot_ctrl.tasks.finger_spin import PLANNED_RATE, SPIN_RATE, FingerSpin, tip_from_body
from robot_ctrl.tasks.half_cheetah import HalfCheetah


def terms_of(task: Task, states: list[np.ndarray], actions: list[np.ndarray]) -> dict[str, float]:
    """The cost's terms on a trajectory, H + 1 states and H actions."""
    rollout = Rollout(torch.tensor(np.array(states), dtype=torch.float32)[None, None])
    cost = task.cost(torch.zeros(0))
    terms = cost.terms(rollout, torch.tensor(np.array(actions), dtype=torch.float32)[None])  # type: ignore[attr-defined]
    return {name: float(value) for name, value in terms.items()}


def drive(task: Task, steps: int) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """States, actions and the return of random actions."""
    rng = np.random.default_rng(0)
    task.robot.connect()
    observation = task.robot.reset(0)
    states, actions, total = [task.state(observation)], [], 0.0
    for _ in range(steps):
        action = rng.uniform(-1, 1, task.state_spec.action_size)
        task.robot.send_action(task.action_scale.to_command(action, task.previous_command(observation)))
        observation = task.robot.get_observation()
        states.append(task.state(observation))
        actions.append(action)
        total += task.reward(observation)
    return states, actions, total


def test_cheetah_runs_cost_of_speed_is_one_minus_the_suites_reward_where_it_runs_forwards() -> None:
    task = CheetahRun(action_repeat=1)
    states, actions, _ = drive(task, 40)
    task.robot.reset(0)
    compared = 0
    for step, action in enumerate(actions):
        task.robot.send_action(action)
        reward = task.reward(task.robot.get_observation())
        paid = terms_of(task, states[step : step + 2], [action])["speed"]
        if states[step + 1][-1] > 0:
            assert paid == pytest.approx(1 - reward, abs=1e-5)
            compared += 1
    assert compared >= 5


@pytest.mark.parametrize(("pitch", "lean"), [(0.0, 0.0), (2 * math.pi, 0.0), (1.1, 0.546), (math.pi, 2.0)])
def test_cheetah_run_charges_for_lying_on_the_nose_or_the_back(pitch: float, lean: float) -> None:
    task = CheetahRun()
    state = np.zeros(task.state_spec.size)
    state[task.state_spec.names.index("pitch")] = pitch
    assert terms_of(task, [state, state], [np.zeros(6)])["lean"] == pytest.approx(lean, abs=1e-3)


def test_half_cheetah_charges_for_lying_only_where_it_is_asked_to() -> None:
    def lean(task: HalfCheetah) -> float:
        state = np.zeros(task.state_spec.size)
        state[task.state_spec.names.index("pitch")] = math.pi
        return terms_of(task, [state, state], [np.zeros(6)])["lean"]

    assert lean(HalfCheetah()) == 0
    assert lean(HalfCheetah(lean_weight=10)) == pytest.approx(20)


def test_finger_spins_planner_is_paid_beyond_the_rewarded_rate() -> None:
    task = FingerSpin()

    def cost(rate: float) -> float:
        state = np.zeros(task.state_spec.size)
        state[task.state_spec.names.index("body_rate")] = rate
        return terms_of(task, [state, state], [np.zeros(2)])["rate"]

    assert cost(-PLANNED_RATE) == cost(-2 * PLANNED_RATE) == 0
    assert 0 < cost(-SPIN_RATE - 5) < cost(-SPIN_RATE) < cost(0) < cost(SPIN_RATE) == 1
    assert cost(-SPIN_RATE + 2) - cost(-SPIN_RATE) > 5 * (cost(-SPIN_RATE) - cost(-SPIN_RATE - 2))


def test_half_cheetahs_cost_is_the_negative_return_up_to_the_speeds_definition() -> None:
    task = HalfCheetah()
    states, actions, total = drive(task, 200)
    cost = sum(terms_of(task, states, actions).values())
    # Gymnasium pays for the mean speed over a control period, PETS's cost for the speed at its end.
    assert -cost == pytest.approx(total, abs=25)
    effort = terms_of(task, states, actions)["control"]
    assert effort == pytest.approx(0.1 * float(np.square(actions).sum()), rel=1e-5)


def test_finger_spins_tip_is_where_mujoco_has_it_as_the_body_sees_it() -> None:
    task = FingerSpin()
    states, _, _ = drive(task, 60)
    seen = tip_from_body(torch.tensor(np.array(states)))
    physics = task.robot._env.physics  # type: ignore[attr-defined]
    for state, (distance, twice_sine, twice_cosine, *_) in zip(states, seen.tolist(), strict=True):
        with physics.reset_context():
            physics.data.qpos[:] = state[:3]
        tip = physics.named.data.xpos["distal"] + physics.named.data.xmat["distal"].reshape(3, 3) @ (0, 0, -0.161)
        away = physics.named.data.xmat["spinner"].reshape(3, 3).T @ (tip - physics.named.data.xpos["spinner"])
        bearing = math.atan2(away[0], away[2])
        assert distance == pytest.approx(math.hypot(away[0], away[2]), abs=1e-6)
        assert (twice_sine, twice_cosine) == pytest.approx((math.sin(2 * bearing), math.cos(2 * bearing)), abs=1e-6)


def test_finger_spins_tip_looks_alike_from_both_ends_of_the_body_and_its_speeds_are_derivatives() -> None:
    state = torch.tensor([0.4, -0.7, 0.3, 2.0, -5.0, 8.0], dtype=torch.float64)
    turned = state + torch.tensor([0, 0, math.pi, 0, 0, 0], dtype=torch.float64)
    assert torch.allclose(tip_from_body(turned), tip_from_body(state))
    step = 1e-6
    moved = state + step * torch.cat([state[3:5], torch.zeros(4, dtype=torch.float64)])
    away = (tip_from_body(moved)[0] - tip_from_body(state)[0]) / step
    assert float(away) == pytest.approx(float(tip_from_body(state)[4]), rel=1e-4)
