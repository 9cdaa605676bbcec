import signal
import subprocess
import sys
import time

import pytest
import serial

from hardware.wire import feetech
from robot_ctrl.emulate import emulate_command
from robot_ctrl.errors import UserError

SCRIPT = """
import signal
from robot_ctrl.emulate import emulate_command
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that were started in the background ignore it
raise SystemExit(emulate_command({arguments}))
"""


@pytest.fixture
def start(tmp_path):
    """Starts the command in a process of its own, with a link to its port."""
    running = []

    def begin(arguments):
        link = tmp_path / "arm"
        code = SCRIPT.format(arguments=f"'so101', port_link=__import__('pathlib').Path({str(link)!r}), {arguments}")
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        deadline = time.monotonic() + 60
        while not link.exists():
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process, link

    yield begin
    for process in running:
        process.kill()
        process.wait()


def test_it_prints_its_port_takes_faults_and_ends_with_ctrl_c(start):
    process, link = start("faults=['stuck-joint:gripper'], payload=0.2, friction=1.3, delay=0.015, noise=0.002")
    process.stdin.write(
        "overload elbow_flex\nnonsense\nmove gripper 0.5\nmove gripper far\nlet go\nclear stuck-joint\nfaults\n"
    )
    process.stdin.flush()
    with serial.Serial(str(link), 1_000_000, timeout=0.5) as port:
        port.write(feetech.ping(1))
        port.read(6)
    output = ""
    while "changed-eeprom" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.send_signal(signal.SIGINT)
    output += process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert "so101 is gone" in output
    assert "Traceback" not in output
    assert f"so101 is at {link}" in output
    assert "gives up torque" in output
    assert "there is no fault 'nonsense'" in output
    assert "stuck-joint is over" in output
    assert "brown-out" in output
    assert "a hand moves gripper to 0.5 rad and holds it" in output
    assert "'far' is no angle in rad" in output
    assert "the hand has let go" in output
    assert not link.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"faults": ["overlode:gripper"]}, "did you mean 'overload'"),
        ({"payload": -1.0}, "payload is -1"),
        ({"latency": 2.0}, "latency of 2"),
    ],
)
def test_what_cannot_be_is_refused(arguments, reason):
    with pytest.raises(UserError, match=reason):
        emulate_command("so101", **arguments)
