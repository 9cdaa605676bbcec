"""A person in the planner's place: what the hands ask for becomes plans that control follows."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
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


class Led:
    """A simulated SO-101 whose control process follows a pointed-at target, at 50 Hz on a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, ticks_late: int = 0, wall: float = 1.5) -> None:
        clock = VirtualClock()
        monkeypatch.setattr(module, "MonotonicClock", lambda: clock)
        robot = reaching_arm("so101", control_rate=50.0, clock=clock)
        robot.connect()
        joints = [replace(joint, acceleration=20.0, jerk=400.0) for joint in robot.spec.joints]
        spec = replace(robot.spec, joints=tuple(joints))
        scale = ActionScale.delta(spec, 1.5, 0.05)
        self.start = np.array(robot.get_observation().values["command"])
        self.wish = Wish(self.start)
        joints[0] = replace(joints[0], position=(-1.5, wall))
        safety = SafetyFilter(replace(spec, joints=tuple(joints)))
        self.control = ControlTick(robot, safety, clock, scale=scale, rules=LatePlanRules(1.0))
        self.control.follow()
        self._boxes, self._late, self._seen = Mailboxes(), ticks_late, list[Any]()
        self._hands = Hands(self.wish, led_settings(spec, scale), self._boxes)  # type: ignore[arg-type]

    def go(self, ticks: int) -> list[np.ndarray]:
        """What was sent at each tick, from the start."""
        return [(self.control.tick(self._exchange), self.control.sent - self.start)[1] for _ in range(ticks)]

    def _exchange(self, observation: Observation | None) -> Any:
        self._seen.append(observation)
        self._boxes.mailbox("seen").put(Seen(3, self._seen[-1 - min(self._late, len(self._seen) - 1)], 0.0))
        self._hands.look(Statuses())
        made = self._boxes.mailbox("plans").get()
        assert made.episode == 3
        return made.plan


def led_settings(spec: RobotSpec, scale: ActionScale) -> Any:
    return SimpleNamespace(source=SimpleNamespace(spec=spec), scale=scale, model_period=0.05)


def test_control_goes_where_the_hands_point_and_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    led = Led(monkeypatch)
    away = np.array([0.3, -0.2, 0.1, 0.0, 0.0, 0.0])
    led.wish.target = led.start + away
    sent = np.array(led.go(60))
    assert np.abs(np.diff(sent, axis=0)).max() * 50 == pytest.approx(1.5, rel=0.05)
    assert sent[-1] == pytest.approx(away, abs=1e-4)
    assert led.control.fault is None


@pytest.mark.parametrize("ticks_late", [0, 1, 3])
def test_a_leader_that_moves_in_jerks_is_followed_without_hunting(
    monkeypatch: pytest.MonkeyPatch, ticks_late: int
) -> None:
    led = Led(monkeypatch, ticks_late=ticks_late)
    for stop in (0.1, 0.2, 0.1, 0.5):
        led.wish.target = led.start + np.array([stop, 0, 0, 0, 0, 0])
        before = led.control.sent[0] - led.start[0]
        sent = np.array(led.go(45))[:, 0]
        assert sent[-1] == pytest.approx(stop, abs=0.001)
        assert np.abs(sent - before).max() < abs(stop - before) + 0.001


def test_the_motion_waits_for_an_arm_that_something_holds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    led = Led(monkeypatch, wall=0.05)
    led.wish.target = led.start + np.array([1.4, 0, 0, 0, 0, 0])
    assert np.array(led.go(100))[-1, 0] == pytest.approx(0.05, abs=0.001)
    led.wish.target = led.start - np.array([0.2, 0, 0, 0, 0, 0])
    back = np.array(led.go(40))[:, 0]
    assert back[20] < 0.0, "it has no long way back"
    assert back[-1] == pytest.approx(-0.2, abs=0.001)
    assert led.control.fault is None


def test_between_episodes_no_plans_are_made() -> None:
    boxes = Mailboxes()
    spec = reaching_arm("so101").spec
    hands = Hands(Wish(np.zeros(6)), led_settings(spec, ActionScale.delta(spec, 1.5, 0.05)), boxes)  # type: ignore[arg-type]
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
