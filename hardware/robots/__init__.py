"""Packaged robots, one YAML file each."""
