"""Which camera of a robot shows a task what its model was trained to see."""

from hardware.robot import CameraSpec
from robot_ctrl.errors import RunError, unknown
from robot_ctrl.goals.image_task import ImageTask
from robot_ctrl.realtime.sources import CameraSource, DescribedArm, RobotSource
from robot_ctrl.task import Task


def cameras_for(task: Task, source: RobotSource, name: str | None = None) -> tuple[CameraSource, ...]:
    """The camera that a task needs, its pictures in the model's size; none where states are measured.

    Args:
        task: the run's.
        source: the robot.
        name: of the camera in the robot's file; None takes the one that is called as in the simulation.

    Raises:
        RunError: if the robot has no such camera, or its pictures are too small.
    """
    if not isinstance(task, ImageTask):
        return ()
    spec = task.image_spec
    known = {camera.name: camera for camera in source.description.cameras} if isinstance(source, DescribedArm) else {}
    if not known:
        raise RunError(
            f"{source.name} has no camera, and the run's model looks through one called {spec.camera!r}. Put it into "
            f"the robot's file, for example: cameras: [{{name: {spec.camera}, source: 0, width: 640, height: 480}}]"
        )
    if name is None and spec.camera not in known:
        raise RunError(
            f"the run's model was trained for a camera called {spec.camera!r}, and {source.name} has "
            f"{', '.join(known)}. If one of them sees the same from the same place, name it with --camera."
        )
    if (chosen := name or spec.camera) not in known:
        raise RunError(f"{source.name}: {unknown('camera', chosen, list(known))}")
    camera = known[chosen]
    if camera.width < spec.width or camera.height < spec.height:
        raise RunError(
            f"{source.name}: camera {chosen!r} gives {camera.width}x{camera.height} pixels, and the run's model was "
            f"trained on {spec.width}x{spec.height}. Set a larger size in the robot's file."
        )
    return (CameraSource(camera, CameraSpec(spec.camera, spec.width, spec.height)),)
