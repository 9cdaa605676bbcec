"""Starts the planner of a supervised arm; apart, because it imports torch and parking must not."""

from robot_ctrl.realtime.planner_process import PlannerChannels, PlannerSettings, plan
from robot_ctrl.realtime.supervisor import READY_SECONDS, Supervisor


def start_planner(supervisor: Supervisor, settings: PlannerSettings) -> None:
    """Start the planner's process; it takes its time, see ``wait_for_planner``."""
    supervisor.start(
        "planner",
        plan,
        settings,
        PlannerChannels(
            seen=supervisor.mailbox("seen"),
            steps=supervisor.steps,
            plans=supervisor.mailbox("plans"),
            status=supervisor.mailbox("planner status"),
            models=supervisor.mailbox("models"),
            records=supervisor.rings["planner"],
            pulse=supervisor.pulse_of("planner"),
            supervisor=supervisor.pulse,
            stop=supervisor.stop,
            quit=supervisor.mailbox("planner quit"),
        ),
    )


def wait_for_planner(supervisor: Supervisor) -> None:
    """Watch until the planner can plan.

    Raises:
        StoppedByFault: if it ended instead, or the arm had to be stopped meanwhile.
        StoppedOnRequest: if a signal arrived.
        TimeoutError: if it takes too long.
    """
    supervisor.wait_for(
        lambda now: now.planner is not None and now.planner.ready, READY_SECONDS, "starting the planner"
    )
