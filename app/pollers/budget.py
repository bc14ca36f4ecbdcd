"""What polling may cost: the share of one CPU that rounds have taken, and how far the interval stretches for it."""

import math
from collections import deque
from collections.abc import Sequence

MANY, FEW = 5, 3
"""A round costs the median of so many, or of so few when that is less: other clients of libvirtd only add to a cost.
So one round in which somebody else kept it busy changes nothing, and two cheap ones are enough to go back."""
RELAX_BELOW = 0.8
"""The interval gets shorter again when the cost would be under this part of what is allowed, and not at every turn."""


class Budget:
    """`allowed` is a share of one CPU: 0.01 is 10 ms of CPU in a second."""

    def __init__(self, interval: float, allowed: float, longest_factor: int) -> None:
        self._interval = interval
        self._longest_factor = longest_factor
        self._costs: deque[float] = deque(maxlen=MANY)
        self.allowed = allowed
        self.round_cpu = 0.0
        """Seconds of CPU for a round, without the dearest of the last ones."""
        self.factor = 1

    @property
    def share(self) -> float:
        """The share of one CPU that rounds take at the interval in force."""
        return self.round_cpu / (self._interval * self.factor)

    def spend(self, cpu: float) -> bool:
        """Take what a round cost, in seconds of CPU; say whether the factor has changed."""
        self._costs.append(cpu)
        costs = list(self._costs)
        self.round_cpu = min(_median(costs), _median(costs[-FEW:]))
        if len(costs) == 1:  # nothing to hold it against, and connections were opened in it
            return False
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


def _median(costs: Sequence[float]) -> float:
    """Return the middle one; of two, the lower."""
    return sorted(costs)[(len(costs) - 1) // 2]
