"""Predicting forward by the plan latency, and the real-time loop on an injected clock."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from line_robot import MODEL_PERIOD, SCALE, plan_of
from point_mass import PERIOD, PointMass, connected, drive
from torch import Generator, Tensor

from hardware.robot import Observation, SentAction
from hardware.safety import SafetyFilter
from models.dynamics import Rollout
from models.state import CommandColumns, StateSpec
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.controller import Controller
from robot_ctrl.realtime.control import ControlTick, Tick
from robot_ctrl.realtime.latency import LatencyEstimate, predict_forward
from robot_ctrl.realtime.offset import LARGEST, CommandOffset
from robot_ctrl.realtime.planning import RealTimePlanner
from robot_ctrl.realtime.rules import LatePlanRules, Standing
from robot_ctrl.realtime.sampling import StepSampler
from robot_ctrl.realtime.schedule import PlanSchedule
from robot_ctrl.realtime.virtual import VirtualPlanner
from robot_ctrl.realtime.virtual import drive as drive_virtually
from robot_ctrl.replanner import Replanner

ICEM = {"name": "icem", "horizon": 10, "risk": "mean", "risk_parameter": None}


class Integrator:
    """A state that is what actions add up to."""

    state_size, action_size = 2, 2

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        steps = torch.cat([state.expand(len(actions), 1, 2), actions], 1)
        return Rollout(steps.cumsum(1).unsqueeze(0))


class Mass:
    """What the force-driven rail does, known exactly, in steps of its period."""

    state_size, action_size = 2, 1

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        position, velocity = (column.expand(len(actions)) for column in state)
        states = [torch.stack([position, velocity], -1)]
        for action in actions[..., 0].unbind(1):
            velocity = velocity + 2 * action * PERIOD
            position = position + velocity * PERIOD
            states.append(torch.stack([position, velocity], -1))
        return Rollout(torch.stack(states, 1).unsqueeze(0))


@pytest.mark.parametrize("latency", [0.0, 0.02, 0.05, 0.07, 0.1, 0.12])
def test_the_start_state_is_where_the_plans_in_force_lead_to(latency: float) -> None:
    schedule = PlanSchedule()
    schedule.add(plan_of(0.0, (1.0, -1.0), (0.5, 0.0), (0.0, 0.25)))
    schedule.add(plan_of(0.06, (-1.0, 1.0), (-1.0, 1.0)))
    begin = 0.013
    predicted = predict_forward(Integrator(), np.array([3.0, 4.0]), schedule, begin, begin + latency, MODEL_PERIOD)
    expected = np.array([3.0, 4.0])
    expected += schedule.sum(begin, begin + latency)
    assert predicted == pytest.approx(expected, abs=1e-6)


def test_nothing_is_predicted_before_there_is_a_plan() -> None:
    state = np.array([1.0, 2.0])
    assert predict_forward(Integrator(), state, PlanSchedule(), 0.0, 0.1, MODEL_PERIOD) is state


def test_the_estimate_follows_what_plans_take_and_keeps_a_margin() -> None:
    estimate = LatencyEstimate(first=0.05)
    assert estimate.seconds == 0.05
    for _ in range(60):
        estimate.measured(0.02)
    assert estimate.seconds == pytest.approx(0.02)
    for count in range(200):
        estimate.measured(0.04 if count % 2 else 0.02)
    assert 0.035 < estimate.seconds < 0.045


def virtual_loop(task: PointMass, *, latency: float, predict: bool = True) -> tuple[ControlTick, VirtualPlanner]:
    clock = task.robot.clock
    replanner = Replanner(task, Mass(), ICEM, now=clock.now)
    planner = RealTimePlanner(task, Mass(), replanner, clock, LatencyEstimate(latency), predict=predict)
    planner.reset(2)
    control = ControlTick(
        task.robot,
        SafetyFilter(task.robot.spec),
        clock,
        scale=task.action_scale,
        rules=LatePlanRules(1.0),
    )
    control.follow()
    return control, VirtualPlanner(planner, clock, lambda count: latency, task.period)


def run_virtually(task: PointMass, *, latency: float, steps: int, predict: bool = True) -> list[Tick]:
    task.robot.reset(2)
    end = task.robot.clock.now() + steps * PERIOD
    control, planner = virtual_loop(task, latency=latency, predict=predict)
    return drive_virtually(control, planner, task.robot.clock, lambda tick: tick.time >= end - 1e-9)


def test_without_latency_the_real_time_loop_is_the_virtual_time_loop() -> None:
    reference = connected()
    controller = Controller(reference, Mass(), ICEM)
    expected = drive(reference, controller)
    task = connected()
    ticks = run_virtually(task, latency=0.0, steps=11)
    sent = [tick.sent.sent for tick in ticks if tick.sent is not None]
    assert np.array(sent) == pytest.approx(
        np.array([reference.action_scale.to_command(action, np.zeros(1)) for action in expected.actions]), abs=1e-5
    )


def distance_cost(ticks: list[Tick]) -> float:
    return float(np.mean([np.square(tick.observation.values["joint_position"]) for tick in ticks if tick.observation]))


def test_predicting_forward_by_the_latency_pays() -> None:
    with_prediction = distance_cost(run_virtually(connected(), latency=0.2, steps=40))
    without = distance_cost(run_virtually(connected(), latency=0.2, steps=40, predict=False))
    assert with_prediction < 0.9 * without


def test_a_planner_that_dies_leaves_an_arm_that_stops() -> None:
    task = connected()
    task.robot.reset(2)
    control, planner = virtual_loop(task, latency=0.0)
    planner._latency = lambda count: 0.0 if count < 5 else float("inf")
    ticks = drive_virtually(
        control, planner, task.robot.clock, lambda tick: control.fault is not None or tick.time > 10
    )
    assert control.fault is not None
    assert "no new plan" in control.fault
    assert ticks[-1].speed == 0
    assert [tick.standing for tick in ticks].count(Standing.FOLLOW) >= 5


def tick_at(time: float, position: float, sent: float | None) -> Tick:
    values = {name: np.full(2, position) for name in ("joint_position", "command")}
    action = None if sent is None else SentAction(np.full(2, sent), np.full(2, sent), (), time)
    return Tick(time, Observation(0, values, {}, {"bus": time}, {"bus": time}), action, None, None, 0.0)


def test_a_step_is_what_was_sent_over_a_period_of_the_model() -> None:
    sampler = StepSampler(SCALE, MODEL_PERIOD, 0.01)
    steps = []
    for number in range(16):
        command = 0.002 * (number + 1)
        step = sampler.add(tick_at(number * 0.01, 0.002 * number, command))
        if step is not None:
            steps.append((number, step))
    assert [number for number, _ in steps] == [5, 10, 15]
    for number, step in steps:
        assert step.action == pytest.approx(np.full(2, 5 * 0.002 / SCALE.step[0]))
        assert step.sent.sent == pytest.approx(np.full(2, 0.002 * number))
        assert step.observation.values["command"] == pytest.approx(step.sent.sent)


def test_ticks_that_were_left_out_do_not_shift_the_steps_after_them() -> None:
    sampler = StepSampler(SCALE, MODEL_PERIOD, 0.01)
    times = [0.0, 0.01, 0.02, 0.03, 0.07, 0.08, 0.09, 0.1, 0.11, 0.12, 0.13, 0.14, 0.15]
    ends = [time for time in times if sampler.add(tick_at(time, 0.0, 0.0)) is not None]
    assert ends == [0.07, 0.1, 0.15]


class Servo:
    """Joints that go half of the way to their command in a period, as the model believes."""

    state_size, action_size = 4, 2

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        states = [state.expand(len(actions), 4)]
        for action in actions.unbind(1):
            position, command = states[-1].split(2, -1)
            command = command + 0.1 * action
            states.append(torch.cat([position + 0.5 * (command - position), command], -1))
        return Rollout(torch.stack(states, 1).unsqueeze(0))


class LoadedArm:
    """What the offset needs to know of a task."""

    period = 0.05
    state_spec = StateSpec(
        ("a", "b", "a_command", "b_command"),
        action_size=2,
        command=CommandColumns((2, 3), (0.1, 0.1), (-9.0, -9.0), (9.0, 9.0), positions=(0, 1)),
    )
    action_scale = ActionScale("delta", np.full(2, -9.0), np.full(2, 9.0), np.full(2, 0.1))

    def previous_command(self, observation: Observation) -> np.ndarray:
        return observation.values["command"]


def corrected(offset: CommandOffset, position: np.ndarray, command: np.ndarray, time: float) -> np.ndarray:
    seen = Observation(0, {"command": command}, {}, {"arm": time}, {"arm": time})
    return offset.correct(np.concatenate([position, command]), seen, time)


def test_a_load_that_the_model_does_not_know_ends_up_in_the_offset() -> None:
    sag = np.array([0.04, -0.02])
    offset = CommandOffset(cast(Any, LoadedArm()), Servo())
    position, command = np.zeros(2), np.zeros(2)
    for count in range(60):
        state = corrected(offset, position, command, 0.05 * count)
        command = command + (0.05 if count < 20 else 0.0)
        position = position + 0.5 * (command - sag - position)
    assert state[2:] == pytest.approx(command - sag, abs=1e-4)
    at_rest = Servo().rollout(torch.tensor(state), torch.zeros(1, 1, 2, dtype=torch.float64)).states[0, 0]
    assert at_rest[1, :2].numpy() == pytest.approx(position, abs=1e-4)


def test_the_offset_is_bounded_and_looks_at_no_pair_of_observations_that_are_not_a_period_apart() -> None:
    offset = CommandOffset(cast(Any, LoadedArm()), Servo())
    blocked = np.zeros(2)
    for count in range(40):
        state = corrected(offset, blocked, np.full(2, 0.5), 0.05 * count)
    assert state[2:] - 0.5 == pytest.approx(np.full(2, -LARGEST))
    offset = CommandOffset(cast(Any, LoadedArm()), Servo())
    for count in range(40):
        state = corrected(offset, blocked, np.full(2, 0.5), 0.2 * count)
    assert state[2:] == pytest.approx(np.full(2, 0.5))
