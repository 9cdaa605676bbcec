"""`robot-ctrl doctor`: is this robot fit to be driven? Looks, and touches nothing."""

from collections.abc import Iterator

from hardware.errors import RobotError
from hardware.examination import Finding, examine
from hardware.fault_latch import FaultLatch
from hardware.robot_file import RobotDescription, load_description, make_robot

_MARKS = {"ok": "✓", "note": "!", "wrong": "✗"}


def doctor(robot: str, port: str | None = None) -> int:
    """Print what was found; returns 0 if nothing is wrong and 1 otherwise.

    Args:
        robot: a packaged robot's name, or a YAML file.
        port: where it is, instead of what its file says.

    Raises:
        RobotFileError: if there is no such robot, or its file says something impossible.
        PortError: if its port cannot be opened.
    """
    description = load_description(robot)
    findings = []
    for finding in _findings(description, port):
        print(f"{_MARKS[finding.verdict]} {finding.what}: {finding.detail}", flush=True)
        findings.append(finding)
    wrong = sum(finding.verdict == "wrong" for finding in findings)
    verdict = {0: "nothing is wrong", 1: "one thing is wrong"}.get(wrong, f"{wrong} things are wrong")
    print(f"\n{description.name}: {verdict}.")
    return 1 if wrong else 0


def _findings(description: RobotDescription, port: str | None) -> Iterator[Finding]:
    fault = FaultLatch(description.name).read()
    if fault is not None:
        remedy = f"remove the cause, then `robot-ctrl reset-fault {description.name}`"
        yield Finding("wrong", "latched fault", f"{fault.reason} ({fault.since}): {remedy}")
    if description.driver == "franka":
        yield _franka(description, port)
    else:
        yield from examine(description, port)


def _franka(description: RobotDescription, port: str | None) -> Finding:
    robot = make_robot(description, port)
    try:
        robot.connect()
        values = robot.get_observation().values["joint_position"]
    except RobotError as error:
        return Finding("wrong", description.name, str(error))
    finally:
        robot.disconnect()
    return Finding("ok", description.name, f"answers; joints at {', '.join(f'{value:+.3f}' for value in values)} rad")
