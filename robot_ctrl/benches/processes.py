"""Code timed in interpreters of its own."""

import resource
import subprocess
import sys


def run(code: str) -> str:
    """What the code prints, in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def cpu_seconds() -> float:
    """CPU time of all such interpreters that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
