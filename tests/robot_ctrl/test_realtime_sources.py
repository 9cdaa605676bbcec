import numpy as np
import pytest

from hardware.clock import VirtualClock
from hardware.emulator import Fault, PlantOptions, emulate_in_memory
from hardware.robot_file import load_description
from robot_ctrl.action_scale import ActionScale
from robot_ctrl.realtime.control import ControlTick
from robot_ctrl.realtime.rules import LatePlanRules
from robot_ctrl.realtime.sources import TRACKING_ERROR, DescribedArm

READY = np.array([0.0, -0.65, 0.75, 0.5, 0.0, 0.2])


@pytest.mark.parametrize("robot", ["so101", "koch"])
@pytest.mark.parametrize("blocked", [False, True])
def test_a_joint_that_presses_against_something_stops_the_arm(robot: str, blocked: bool) -> None:
    description, clock = load_description(robot), VirtualClock(100.0)
    start = dict(zip((joint.name for joint in description.joints), READY.tolist(), strict=True))
    port = emulate_in_memory(description, clock, plant=PlantOptions(start=start))
    source = DescribedArm(description, port)
    arm = source.open(clock)
    arm.connect()
    control = ControlTick(
        arm,
        source.filter(arm, clock),
        clock,
        scale=ActionScale.delta(source.spec, 1.0, 0.05),
        rules=LatePlanRules(),
    )
    if blocked:
        port.arm.inject(Fault.parse("stuck-joint:shoulder_pan"), clock.now())
    control.move_to(READY + np.array([0.95 * TRACKING_ERROR, 0, 0, 0, 0, 0]), 0.8)
    due = clock.now()
    for _ in range(100):
        control.tick(lambda seen: None)
        due += control.period
        clock.sleep_until(due)
    if blocked:
        assert control.fault is not None
        assert "effort of shoulder_pan" in control.fault
    else:
        assert control.fault is None
