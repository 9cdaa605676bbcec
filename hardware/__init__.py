"""Talk to a robot, simulated or real, and keep it safe.

Importing the package sets MUJOCO_GL where it is unset and the machine has no display.
"""

from hardware.opengl import choose_backend

choose_backend()
