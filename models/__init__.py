"""Predict what action sequences do to a robot, and how sure that prediction is."""
