"""A person in the planner's place: what the hands ask for becomes plans that control follows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware.arms.reaching import reaching_arm
from hardware.clock import VirtualClock
from hardware.errors import StoppedError
from hardware.fault_latch import FaultLatch
from hardware.robot import Observation, RobotSpec
from hardware.safety import SafetyFilter
from robot_ctrl import teleop as module
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.errors import UserError
from robot_ctrl.park import park
from robot_ctrl.realtime.control import ControlTick
from robot_ctrl.realtime.planning_messages import Seen
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.sources import SimulatedArm
from robot_ctrl.realtime.supervisor import Statuses
from robot_ctrl.teleop import Hands, teleop


class Slot:
    def __init__(self) -> None:
        self.content: Any = None

    def put(self, content: Any) -> None:
        self.content = content

    def get(self) -> Any:
        content, self.content = self.content, None
        return content


class Mailboxes:
    def __init__(self) -> None:
        self.slots: dict[str, Slot] = {}

    def mailbox(self, name: str) -> Slot:
        return self.slots.setdefault(name, Slot())


class Wish:
    def __init__(self, target: np.ndarray) -> None:
        self.target = target

    def act(self, observation: Observation) -> np.ndarray:
        return self.target


def test_control_goes_where_the_hands_point_and_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    robot = reaching_arm("so101", control_rate=100.0, clock=clock)
    robot.connect()
    start = robot.get_observation().values["command"]
    target = start + np.array([0.3, -0.2, 0.1, 0.0, 0.0, 0.0])
    scale, boxes = ActionScale.delta(robot.spec, 1.5, 0.05), Mailboxes()
    monkeypatch.setattr(module, "MonotonicClock", lambda: clock)
    hands = Hands(Wish(target), scale, 0.05, boxes)  # type: ignore[arg-type]
    control = ControlTick(robot, SafetyFilter(robot.spec), clock, scale=scale, rules=LatePlanRules(1.0))
    control.follow()

    def exchange(observation: Observation | None) -> Any:
        boxes.mailbox("seen").put(Seen(3, observation, 0.0))  # type: ignore[arg-type]
        hands.look(Statuses())
        made = boxes.mailbox("plans").get()
        assert made.episode == 3
        return made.plan

    speeds = [control.tick(exchange).speed for _ in range(120)]
    assert max(speeds) == pytest.approx(1.5, rel=0.05)
    assert robot.get_observation().values["command"] == pytest.approx(target, abs=1e-4)
    assert control.fault is None


def test_between_episodes_no_plans_are_made() -> None:
    boxes = Mailboxes()
    hands = Hands(Wish(np.zeros(6)), ActionScale.delta(reaching_arm("so101").spec, 1.5, 0.05), 0.05, boxes)  # type: ignore[arg-type]
    hands.look(Statuses())
    boxes.mailbox("seen").put(Seen(None, Observation(0, {"command": np.zeros(6)}), 0.0))
    hands.look(Statuses())
    assert boxes.mailbox("plans").get() is None


@pytest.mark.parametrize("drive", [lambda arm, folder: teleop(arm, keys=str, latch_folder=folder), park])
def test_a_latched_fault_keeps_the_arm_from_being_driven(drive: Any, tmp_path: Path) -> None:
    FaultLatch("simulated-so101", tmp_path).latch("elbow_flex is overloaded")
    arm = SimulatedArm()
    with pytest.raises(StoppedError, match=r"elbow_flex is overloaded.*reset-fault"):
        park(arm, latch_folder=tmp_path) if drive is park else drive(arm, tmp_path)


def test_an_arm_that_cannot_be_connected_has_no_fault_to_reset(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match=r"so101: there is no port /dev/nowhere") as refusal:
        park("so101", "/dev/nowhere", latch_folder=tmp_path)
    assert "reset-fault" not in str(refusal.value)


def test_a_robot_without_a_park_pose_says_so(tmp_path: Path) -> None:
    class Poseless(SimulatedArm):
        @property
        def spec(self) -> Any:
            return RobotSpec("poseless", reaching_arm("so101").spec.joints, "position", 100.0)

    with pytest.raises(UserError, match="has no park_pose"):
        park(Poseless(), latch_folder=tmp_path)
