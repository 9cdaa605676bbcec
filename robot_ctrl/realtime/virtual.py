"""The real-time loop on an injected clock, with injected latencies: the same control tick and the same planner.

Nothing waits and nothing runs at the same time. A plan is computed when it would begin, and handed over when it
would be ready; so every rule for late plans can be tested, and every latency compared, on any machine.
"""

from collections.abc import Callable

from hardware.clock import Clock
from hardware.robot import Observation
from robot_ctrl.realtime.control import ControlTick, Tick
from robot_ctrl.realtime.planning import Planned, RealTimePlanner, read_time
from robot_ctrl.realtime.schedule import PlanFrom


class VirtualPlanner:
    """A planner process that takes as long as it is told to.

    Args:
        planner: plans.
        clock: the loop's clock.
        latency: seconds that the next plan takes, by how many there were before; infinite for a planner that died.
        period: seconds between the observations that are planned from, at least.
        lag: seconds that commands are sent after plans ask for them.
    """

    def __init__(
        self,
        planner: RealTimePlanner,
        clock: Clock,
        latency: Callable[[int], float],
        period: float,
        lag: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._planner, self._clock, self._latency, self._period = planner, clock, latency, period
        self._lag = lag
        self._pending: Planned | None = None
        self._ready = 0.0
        self._next = -float("inf")
        self._count = 0

    def poll(self, observation: Observation | None) -> PlanFrom | None:
        """Let it work until now, then show it the newest observation; returns a plan that became ready."""
        plan = self._finished()
        if self._pending is None and observation is not None and read_time(observation) >= self._next - 1e-9:
            self._pending = self._planner.plan(observation, self._lag())
            self._ready = self._clock.now() + self._latency(self._count)
            self._next = read_time(observation) + self._period
            self._count += 1
        return self._finished() or plan

    def _finished(self) -> PlanFrom | None:
        if self._pending is None or self._clock.now() < self._ready - 1e-9:
            return None
        pending, self._pending = self._pending, None
        return self._planner.published(pending)


def drive(control: ControlTick, planner: VirtualPlanner, clock: Clock, until: Callable[[Tick], bool]) -> list[Tick]:
    """Run control and planner together until a tick says so; the robot's ``send_action`` moves the clock.

    A plan that takes no time is in force in the tick of the observation that it was made from.
    """
    ticks: list[Tick] = []
    due = clock.now()
    while True:
        tick = control.tick(planner.poll)
        ticks.append(tick)
        if until(tick):
            return ticks
        due += control.period
        clock.sleep_until(due)
