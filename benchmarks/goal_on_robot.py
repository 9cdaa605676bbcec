"""How often an arm reaches goal pictures over the wire: servo bus and camera are an emulator's, both real interfaces.

    python benchmarks/goal_on_robot.py --run runs/arm-goal-image --goals 20          about half a minute a goal

Goals are poses drawn as the task draws them, with their pictures from the twin; the arm starts where an episode of the
run started, at least 10 cm away. An episode succeeds if the gripper's tip ends within 3 cm of the goal, as measured by
the servos. The emulated camera's pictures are JPEGs of 320x240 pixels at 15 Hz, cut and scaled in the control process.

Writes benchmarks/results/goal-on-robot.csv, a row per goal, and prints a summary.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import hardware.robots
from hardware.emulator import CameraStream, emulate
from hardware.errors import RobotError
from hardware.robot import Array
from hardware.robot_file import load_description
from robot_ctrl.build import open_run
from robot_ctrl.goal_robot import goal_on_robot
from robot_ctrl.realtime.parts import recorded_start
from robot_ctrl.seeds import derive_seed
from robot_ctrl.tasks import make_task
from robot_ctrl.tasks.arm_goal_image import ALREADY_THERE, CAMERA, REACHED, ArmGoalImage

RESULTS = Path(__file__).parent / "results" / "goal-on-robot.csv"
COLUMNS = ("goal", "reached", "metres_start", "metres_end", "plans", "plan_ms_p50", "missed_deadlines", "fault")


def main() -> None:
    """Measure, and write as it goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--goals", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=0.05, help="of the servo bus with a busy computer, s")
    given = parser.parse_args()
    task = make_task(open_run(given.run)[1].task)
    assert isinstance(task, ArmGoalImage)
    task.robot.connect()
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        emulate(load_description("so101"), cameras=[CameraStream(CAMERA)]) as arm,
    ):
        robot = robot_file(Path(folder), arm.port, arm.camera_urls[0], given.patience)
        for number in range(given.goals):
            pose = goal_pose(task, given.run, derive_seed(given.seed, "goal on robot", number), number)
            rows.append({"goal": number} | attempt(given.run, robot, pose, number, Path(folder) / f"latch{number}"))
            print(rows[-1], flush=True)
            with RESULTS.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
    ends = [row["metres_end"] for row in rows if row["metres_end"] is not None]
    reached = sum(row["reached"] for row in rows)
    print(f"{reached} of {len(rows)} within {REACHED * 100:g} cm; median {np.median(ends) * 100:.1f} cm, ", end="")
    print(f"{sum(row['fault'] != '' for row in rows)} stopped by a fault")


def robot_file(folder: Path, port: str, url: str, patience: float) -> str:
    """The packaged arm's file, at the emulator's port and with its camera."""
    tree = yaml.safe_load((Path(hardware.robots.__file__).parent / "so101.yaml").read_text())
    camera = {"name": CAMERA, "source": url, "width": 320, "height": 240, "max_age": 1.0}
    path = folder / "arm.yaml"
    path.write_text(yaml.safe_dump(tree | {"port": port, "patience": patience, "cameras": [camera]}))
    return str(path)


def goal_pose(task: ArmGoalImage, run: Path, seed: int, start: int) -> Array:
    """A pose (6,), rad, drawn by the task, away from where the arm will start."""
    tip = recorded_start(run, start).values["gripper_tip"]
    for attempt in range(1000):
        drawn = task.robot.reset(seed + attempt)
        if np.linalg.norm(drawn.values["gripper_tip"] - tip) >= ALREADY_THERE:
            return drawn.values["joint_position"]
    raise RuntimeError("no goal is away from the start")


def attempt(run: Path, robot: str, pose: Array, number: int, latch: Path) -> dict[str, Any]:
    """One goal, and what became of it."""
    try:
        goal_on_robot(run, robot, joints=pose.tolist(), seed=number, latch_folder=latch)
    except RobotError as error:
        return dict.fromkeys(COLUMNS[1:], None) | {"reached": 0, "fault": str(error)}
    numbers = json.loads((max((run / "goals").iterdir()) / "goal.json").read_text())
    return {
        "reached": int(numbers["metres_end"] < REACHED),
        "metres_start": round(numbers["metres_start"], 4),
        "metres_end": round(numbers["metres_end"], 4),
        "plans": numbers["plans_made"],
        "plan_ms_p50": round(numbers["plan_ms_p50"], 1),
        "missed_deadlines": numbers["missed_deadlines"],
        "fault": "",
    }


if __name__ == "__main__":
    main()
