import numpy as np
import pytest
import torch
from point_mass import PERIOD, PointMass, connected, drive
from torch import Generator, Tensor

from hardware.robot import Observation
from models.actor_critic import ActorCritic
from models.dynamics import Rollout
from models.transitions import Transitions
from robot_ctrl.controller import Controller
from robot_ctrl.policies import BasePolicy


@pytest.fixture
def task() -> PointMass:
    return connected()


class DoubleIntegrator:
    """What the rail does, known exactly."""

    state_size, action_size = 2, 1

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        self.seen.append(actions)
        position, velocity = (column.expand(len(actions)) for column in state.unbind(-1))
        states = [torch.stack([position, velocity], -1)]
        for action in actions[..., 0].unbind(1):
            velocity = velocity + 2 * action * PERIOD
            position = position + velocity * PERIOD
            states.append(torch.stack([position, velocity], -1))
        return Rollout(torch.stack(states, 1).unsqueeze(0))


def controller_of(
    task: PointMass, replan_every: int = 1, model: DoubleIntegrator | None = None, **settings: object
) -> Controller:
    planner = {"name": "icem", "horizon": 10, "risk": "mean", "risk_parameter": None} | settings
    return Controller(task, model or DoubleIntegrator(), planner, replan_every=replan_every)


def test_with_the_true_model_the_goal_is_reached_and_holding_still_is_beaten() -> None:
    task = connected(episode_steps=25)
    planned = drive(task, controller_of(task))
    held = drive(task, BasePolicy(task, "hold"))
    assert planned.success
    assert not held.success
    assert planned.total_reward > held.total_reward / 2
    assert abs(planned.observations[-1].values["joint_velocity"][0]) < 0.3


@pytest.mark.parametrize(
    ("replan_every", "plans"), [(1, 12), (5, 3), (0, 2), (50, 2)], ids=["1.5", "every 5", "1.0", "beyond the end"]
)
def test_a_plan_is_followed_as_long_as_asked_for_but_never_beyond_its_end(
    replan_every: int, plans: int, task: PointMass
) -> None:
    controller = controller_of(task, replan_every, population=8, elites=2, iterations=1)
    drive(task, controller)
    assert len(controller.plans) == plans
    assert len(controller.plan_seconds) == plans
    assert [plan.computed_from for plan in controller.plans] == sorted({p.computed_from for p in controller.plans})


def test_followed_actions_are_the_plans_own(task: PointMass) -> None:
    controller = controller_of(task, 0, population=8, elites=2, iterations=1)
    result = drive(task, controller)
    followed = np.concatenate([plan.actions for plan in controller.plans])[:12]
    assert np.array(result.actions) == pytest.approx(followed, abs=1e-6)


def test_the_next_plan_starts_from_the_last_one_shifted(task: PointMass) -> None:
    model = DoubleIntegrator()
    controller = controller_of(task, model=model, population=8, elites=2, iterations=1)
    controller.act(task.robot.reset(0))
    first = controller.plan
    assert first is not None
    model.seen.clear()
    controller.act(task.robot.get_observation())
    candidates = torch.cat([actions.reshape(-1, 10) for actions in model.seen])
    shifted = torch.tensor(np.append(first.proposal.mean[1:, 0], 0.0))
    assert (candidates - shifted).abs().amax(-1).min() < 1e-6


def test_controllers_with_the_same_seed_agree_and_forget_at_a_reset(task: PointMass) -> None:
    controller = controller_of(task)
    commands = []
    for seed in (5, 5, 6):
        controller.reset(seed)
        commands.append(controller.act(task.robot.reset(0)).item())
    assert commands[0] == commands[1] != commands[2]
    assert len(controller.plans) == 1


@pytest.mark.parametrize("start", [-1.0, 0.5])
def test_where_commands_are_positions_holding_still_is_where_the_robot_is_now(start: float) -> None:
    task = connected(driven_by="position")
    controller = controller_of(task, replan_every=2, population=8, elites=2, iterations=1, horizon=3)
    for step in range(3):
        here = start + 0.1 * step
        values = {"joint_position": [here], "joint_velocity": [0.0], "command": [here]}
        observation = Observation(step, {name: np.array(value) for name, value in values.items()})
        controller.act(observation)
        if step != 1:
            assert controller.plan is not None
            assert task.action_scale.to_command(controller.plan.hold_action, np.zeros(1)) == pytest.approx(
                [here], abs=1e-6
            )


@pytest.mark.parametrize("setting", [{"population": 1}, {"horizon": 0}, {"name": "guess"}])
def test_settings_out_of_range_are_refused_before_the_first_plan(setting: dict[str, object], task: PointMass) -> None:
    with pytest.raises(ValueError, match=r"population|steps|guess"):
        controller_of(task, **setting)


def test_plans_say_when_on_the_robots_clock_they_start(task: PointMass) -> None:
    controller = controller_of(task, population=8, elites=2, iterations=1)
    result = drive(task, controller)
    starts = [plan.start_time for plan in controller.plans]
    end = task.robot.clock.now()
    assert starts == pytest.approx([end - (result.steps - step) * task.period for step in range(result.steps)])


def test_what_the_policy_would_do_is_among_the_candidates(task: PointMass) -> None:
    model = DoubleIntegrator()
    value = ActorCritic(task.model_spec, hidden=(8,), critics=2, proposals=3, updates=0.1)
    planner = {"name": "icem", "horizon": 10, "risk": "mean", "risk_parameter": None}
    small = {"population": 8, "elites": 2, "iterations": 1}
    controller = Controller(task, model, planner | small, value=value)
    controller.act(task.robot.reset(0))
    assert {len(actions) for actions in model.seen} == {9}
    states = torch.randn(20, 2)
    rows = Transitions(states, torch.zeros(20, 1), states, None, None, torch.zeros(20, dtype=torch.int64))
    value.fit(rows, torch.ones(20), generator=Generator().manual_seed(0))
    observation = task.robot.get_observation()
    model.seen.clear()
    controller.act(observation)
    first = value.act(torch.tensor(task.state(observation), dtype=torch.float32)[None], noise=torch.zeros(1, 1))
    assert len(model.seen[-1]) == 3 + 1 + 1 + 8
    assert (model.seen[-1][:, 0] - first).abs().min() < 1e-6


def distance_from_policy(task: PointMass, expected: float, explores: bool, monkeypatch: pytest.MonkeyPatch) -> float:
    """How far the first action is from the policy's mean, where going on as the policy would is expected to cost so."""
    value = ActorCritic(task.model_spec, hidden=(8,), critics=2, proposals=3, updates=0.1)
    states = torch.randn(20, 2, generator=Generator().manual_seed(0))
    rows = Transitions(states, torch.zeros(20, 1), states, None, None, torch.zeros(20, dtype=torch.int64))
    value.fit(rows, torch.ones(20), generator=Generator().manual_seed(0))
    monkeypatch.setattr(value, "going_on", lambda state, periods: torch.tensor(expected))
    planner = {"name": "icem", "horizon": 10, "risk": "mean", "risk_parameter": None}
    controller = Controller(task, DoubleIntegrator(), planner, value=value)
    if explores:
        controller.explore(optimism=0.0)
    observation = task.robot.reset(0)
    controller.act(observation)
    state = torch.tensor(task.state(observation), dtype=torch.float32)[None]
    policy = float(value.act(state, noise=torch.zeros(1, 1)).detach())
    assert controller.plan is not None
    return abs(float(controller.plan.actions[0, 0]) - policy)


def test_a_plan_that_promises_no_more_than_the_policy_gives_way_to_it(
    task: PointMass, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert distance_from_policy(task, -1e6, False, monkeypatch) < 1e-5
    assert distance_from_policy(task, 1e6, False, monkeypatch) > 1e-3


def test_while_a_run_learns_the_policy_acts_with_its_noise(task: PointMass, monkeypatch: pytest.MonkeyPatch) -> None:
    assert distance_from_policy(task, -1e6, True, monkeypatch) > 1e-3


class Gamble(DoubleIntegrator):
    """Pushing backwards, where the goal is, does what is expected or more than the opposite."""

    def rollout(self, state: Tensor, actions: Tensor, *, generator: Generator | None = None) -> Rollout:
        expected = super().rollout(state, actions).states
        opposite = super().rollout(state, torch.where(actions < 0, -2 * actions, actions)).states
        return Rollout(torch.cat([expected, opposite]))


@pytest.mark.parametrize(("optimism", "pushes"), [(0.0, False), (1.5, True)])
def test_optimism_tries_what_could_be_good(optimism: float, pushes: bool, task: PointMass) -> None:
    controller = controller_of(task, model=Gamble())
    controller.explore(optimism)
    command = controller.act(task.robot.reset(0))
    assert (command[0] < 0.3 * task.action_scale.low[0]) == pushes
