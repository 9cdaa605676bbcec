"""Drive a robot, learn its dynamics from what happens, and replan through them."""

__version__ = "0.1.0"
