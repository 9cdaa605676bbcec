"""Checks of planner settings, with errors that say what would be right."""


def require(planner: object, setting: str, value: float, *, at_least: float, at_most: float = float("inf")) -> None:
    """Refuse a setting outside its limits.

    Raises:
        ValueError: naming the planner, the setting, its value and its limits.
    """
    if not at_least <= value <= at_most:
        limit = f"at least {at_least}" if at_most == float("inf") else f"from {at_least} to {at_most}"
        raise ValueError(f"{type(planner).__name__}: {setting} is {value}; it must be {limit}.")


def require_positive(planner: object, setting: str, value: float) -> None:
    """Refuse a setting that is not above zero and finite.

    Raises:
        ValueError: naming the planner, the setting and its value.
    """
    if not 0 < value < float("inf"):
        raise ValueError(f"{type(planner).__name__}: {setting} is {value}; it must be positive and finite.")
