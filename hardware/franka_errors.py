"""Says what a Franka robot's error flags mean: which joint, which value, which limit, and what to do.

The flags are those of ``franka::Errors`` (libfranka 0.21); the limits are in ``hardware.franka_limits``.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from hardware import franka_limits as limits
from hardware.robot import Array

RECOVER = "Then call clear_fault()."
TORQUE_THRESHOLDS = np.array([20.0, 20.0, 18.0, 18.0, 16.0, 14.0, 12.0])
"""N·m of external torque (7,) that count as a collision; those of libfranka's examples."""
FORCE_THRESHOLDS = np.array([20.0, 20.0, 20.0, 25.0, 25.0, 25.0])
"""N and N·m of external force and torque (6,) at the end effector that count as a collision; as there."""


class FrankaState(Protocol):
    """What is read from ``franky.RobotState``: arrays per joint (7,), SI units."""

    q: Array
    dq: Array
    tau_J: Array
    tau_ext_hat_filtered: Array
    O_F_ext_hat_K: Array
    control_command_success_rate: float


def raised_flags(errors: object) -> list[str]:
    """The names of the flags that are set in a ``franky.Errors``."""
    return [name for name in sorted(dir(errors)) if not name.startswith("_") and getattr(errors, name) is True]


def explain(flag: str, state: FrankaState) -> str:
    """One or two sentences about a raised flag: what happened, with value and limit, and the remedy."""
    said = _EXPLANATIONS.get(flag)
    if said is not None:
        return said(state)
    words = flag.replace("_", " ")
    return f"{words} (libfranka's {flag}). Look at the robot's status in Desk, remove the cause. {RECOVER}"


def _worst(excess: Array) -> tuple[int, str]:
    joint = int(np.argmax(excess))
    return joint, limits.JOINT_NAMES[joint]


def _joint_position(state: FrankaState) -> str:
    joint, name = _worst(np.maximum(state.q - limits.POSITION_HIGH, limits.POSITION_LOW - state.q))
    return (
        f"{name} is at {state.q[joint]:.4f} rad, its limits are {limits.POSITION_LOW[joint]} to "
        f"{limits.POSITION_HIGH[joint]} rad. Guide the arm back inside by hand (in Desk, or with the buttons at the "
        f"hand). {RECOVER}"
    )


def _joint_velocity(state: FrankaState) -> str:
    low, high = limits.velocity_limits(state.q)
    joint, name = _worst(np.maximum(state.dq - high, low - state.dq))
    return (
        f"{name} moved at {state.dq[joint]:.3f} rad/s; at {state.q[joint]:.3f} rad it may move at {low[joint]:.3f} to "
        f"{high[joint]:.3f} rad/s. Lower its velocity limit in the robot file, or keep it farther from its end. "
        f"{RECOVER}"
    )


def _joint_collision(state: FrankaState) -> str:
    joint, name = _worst(np.abs(state.tau_ext_hat_filtered) / TORQUE_THRESHOLDS)
    return (
        f"collision: {name} feels an external torque of {state.tau_ext_hat_filtered[joint]:.1f} N·m, the threshold is "
        f"{TORQUE_THRESHOLDS[joint]} N·m. Free the arm; if it touched nothing, enter the tool's mass in Desk. {RECOVER}"
    )


def _end_effector_collision(state: FrankaState) -> str:
    axis = int(np.argmax(np.abs(state.O_F_ext_hat_K) / FORCE_THRESHOLDS))
    what, unit = ("force", "N") if axis < 3 else ("torque", "N·m")
    return (
        f"collision: the end effector feels an external {what} of {state.O_F_ext_hat_K[axis]:.1f} {unit} about "
        f"{'xyz'[axis % 3]}, the threshold is {FORCE_THRESHOLDS[axis]} {unit}. Free the arm; if it touched nothing, "
        f"enter the tool's mass in Desk. {RECOVER}"
    )


def _torque_range(state: FrankaState) -> str:
    joint, name = _worst(np.abs(state.tau_J) / limits.TORQUE)
    return (
        f"{name} measures {state.tau_J[joint]:.1f} N·m, its limit is {limits.TORQUE[joint]} N·m. Reduce the payload or "
        f"the accelerations. {RECOVER}"
    )


def _communication(state: FrankaState) -> str:
    return (
        f"the robot missed too many commands: {state.control_command_success_rate:.0%} of the last 100 arrived in "
        f"time, and 20 lost in a row stop it. Use a PREEMPT_RT kernel, a direct cable to the control box, and the "
        f"performance CPU governor. {RECOVER}"
    )


def _discontinuity(what: str, limit: str) -> Callable[[FrankaState], str]:
    def said(state: FrankaState) -> str:
        return (
            f"the commanded {what} jumped by more than {limit}. Send commands through a SafetyFilter with the limits "
            f"of fr3.yaml. {RECOVER}"
        )

    return said


def _constant(text: str) -> Callable[[FrankaState], str]:
    def said(state: FrankaState) -> str:
        return f"{text} {RECOVER}"

    return said


_EXPLANATIONS: dict[str, Callable[[Any], str]] = {
    "joint_position_limits_violation": _joint_position,
    "joint_motion_generator_position_limits_violation": _joint_position,
    "joint_velocity_violation": _joint_velocity,
    "joint_motion_generator_velocity_limits_violation": _joint_velocity,
    "joint_reflex": _joint_collision,
    "cartesian_reflex": _end_effector_collision,
    "tau_j_range_violation": _torque_range,
    "communication_constraints_violation": _communication,
    "controller_torque_discontinuity": _discontinuity("torque", f"{limits.TORQUE_RATE:.0f} N·m/s"),
    "joint_motion_generator_velocity_discontinuity": _discontinuity(
        "velocity", f"{limits.ACCELERATION[0]:.0f} rad/s² allow"
    ),
    "joint_motion_generator_acceleration_discontinuity": _discontinuity(
        "acceleration", f"{limits.JERK[0]:.0f} rad/s³ allow"
    ),
    "self_collision_avoidance_violation": _constant(
        "the arm was about to collide with itself. Guide it away by hand and keep-out that region in the robot file."
    ),
    "power_limit_violation": _constant(
        "the commands would have exceeded the robot's power limit. Lower the velocity limits or the payload."
    ),
    "instability_detected": _constant(
        "the controller became unstable. Enter the tool's mass in Desk; lower the stiffness."
    ),
    "cartesian_position_limits_violation": _constant(
        "the arm passed one of the virtual walls set in Desk. Guide it back inside by hand."
    ),
    "cartesian_velocity_violation": _constant(
        "the end effector moved faster than the robot allows (3 m/s). Lower the velocity limits in the robot file."
    ),
    "joint_move_in_wrong_direction": _constant(
        "a joint was guided farther beyond its limit. Guide it the other way, back inside."
    ),
}
