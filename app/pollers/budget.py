"""What polling may cost: the share of one CPU that rounds have taken, and how far the interval stretches for it."""

import math

SMOOTHING = 0.3
"""The weight of the newest round: one round in which somebody else kept libvirtd busy stretches nothing for long."""
RELAX_BELOW = 0.8
"""The interval gets shorter again when the cost would be under this part of what is allowed, and not at every turn."""


class Budget:
    """`allowed` is a share of one CPU: 0.01 is 10 ms of CPU in a second."""

    def __init__(self, interval: float, allowed: float, longest_factor: int) -> None:
        self._interval = interval
        self._longest_factor = longest_factor
        self.allowed = allowed
        self.round_cpu = 0.0
        """Seconds of CPU for a round, smoothed."""
        self.factor = 1

    @property
    def share(self) -> float:
        """The share of one CPU that rounds take at the interval in force."""
        return self.round_cpu / (self._interval * self.factor)

    def spend(self, cpu: float) -> bool:
        """Take what a round cost, in seconds of CPU; say whether the factor has changed."""
        self.round_cpu = cpu if not self.round_cpu else self.round_cpu + SMOOTHING * (cpu - self.round_cpu)
        before, needed = self.factor, self._needed(self.allowed)
        if needed > self.factor:
            self.factor = needed
        else:
            self.factor = min(self.factor, self._needed(self.allowed * RELAX_BELOW))
        return self.factor != before

    def _needed(self, allowed: float) -> int:
        """Return the smallest factor that keeps a share."""
        needed = math.ceil(self.round_cpu / (self._interval * allowed))
        return min(max(1, needed), self._longest_factor)
