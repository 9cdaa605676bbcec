"""Talk to a robot, simulated or real, and keep it safe."""
