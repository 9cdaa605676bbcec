"""Small arms to talk to byte by byte, on a virtual clock."""

import math
from pathlib import Path

from hardware.clock import VirtualClock
from hardware.emulator.arm import EmulatedArm
from hardware.emulator.memory_port import MemoryPort
from hardware.emulator.options import PlantOptions, WireOptions
from hardware.emulator.places import ServoPlace
from hardware.robot_file import RobotDescription
from hardware.wire import dynamixel, feetech

MODEL = Path(__file__).parents[2] / "hardware" / "arms" / "so101.xml"
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
READY = dict(zip(JOINTS, (0.0, -0.65, 0.75, 0.50, 0.0, 0.20), strict=True))


def servo_places(model="sts3215", joints=JOINTS):
    return [ServoPlace(joint, index + 1, model) for index, joint in enumerate(joints)]


def description(model="sts3215", twin="so101"):
    """The packaged arm's body with servos of any model."""
    driver = "feetech" if model == "sts3215" else "dynamixel"
    limits = {"position": (-1.69, 1.69), "velocity": 3.0, "acceleration": 20.0}
    joints = [{"name": name, "id": i + 1, "model": model, "limits": limits} for i, name in enumerate(JOINTS)]
    return RobotDescription.model_validate(
        {"name": "bench", "driver": driver, "joints": joints, "twin": twin, "park_pose": tuple(READY.values())}
    )


class Bench:
    """An emulated arm and a host that asks it things."""

    def __init__(self, model="sts3215", *, places=None, plant=None, wire=None, baudrate=1_000_000, seed=0):
        self.clock = VirtualClock()
        self.arm = EmulatedArm(
            MODEL,
            places or servo_places(model),
            plant=plant or PlantOptions(),
            wire=wire or WireOptions(latency=0.0),
            baudrate=baudrate,
            start=READY,
            seed=seed,
        )
        self.port = MemoryPort(self.arm, self.clock)
        self.codec = dynamixel if model != "sts3215" else feetech

    def bytes(self, request):
        """All that comes back until the bus is quiet."""
        self.port.write(request)
        answer = b""
        while (event := self.arm.next_event()) < math.inf:
            answer += self.port.read(event)
        return answer

    def ask(self, request):
        """The packets that come back."""
        return self.codec.PacketParser().feed(self.bytes(request))

    def wait(self, seconds):
        self.clock.advance(seconds)
        return self.arm.status(self.clock.now())

    def read(self, servo, register):
        """A register's count, over the wire."""
        field = self.arm.servo(JOINTS[0]).memory.table[register]
        (packet,) = self.ask(self.codec.read(servo, field.address, field.size))
        assert packet.id == servo
        return field.decode(packet.parameters)

    def write(self, servo, register, count):
        """Write a register over the wire; the error code or mask of the reply."""
        field = self.arm.servo(JOINTS[0]).memory.table[register]
        (packet,) = self.ask(self.codec.write(servo, field.address, field.encode(count)))
        return packet.error if self.codec is dynamixel else packet.code
