"""Risk measures by name, as a run's ``planner.risk`` and ``planner.risk_parameter`` give them."""

from planners import risk
from planners.risk import Risk
from robot_ctrl.errors import ConfigError, unknown

_PLAIN: dict[str, Risk] = {"mean": risk.mean, "worst": risk.worst}
_WITH_PARAMETER = {"mean-std": risk.mean_std, "cvar": risk.cvar, "entropic": risk.entropic}


def risk_measure(name: str, parameter: float | None) -> Risk:
    """The risk measure of that name.

    Args:
        name: mean, worst, mean-std, cvar or entropic.
        parameter: k of mean-std, the share of cvar, θ of entropic; None for the others.

    Raises:
        ConfigError: unknown name, or a parameter that is missing, superfluous or out of range.
    """
    if name in _PLAIN:
        if parameter is not None:
            raise ConfigError(f"planner.risk_parameter = {parameter}: risk {name!r} takes none; leave it out.")
        return _PLAIN[name]
    if name not in _WITH_PARAMETER:
        raise ConfigError(unknown("planner.risk", name, [*_PLAIN, *_WITH_PARAMETER]))
    if parameter is None:
        raise ConfigError(f"planner.risk = {name!r} needs planner.risk_parameter, a number.")
    try:
        return _WITH_PARAMETER[name](parameter)
    except ValueError as error:
        raise ConfigError(f"planner.risk_parameter: {error}") from None
