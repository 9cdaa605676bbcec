"""Find good action sequences, given what sequences cost.

Importing this package imports no torch: a process that only follows plans needs ``planners.plan`` alone.
"""
