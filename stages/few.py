"""Taking few items of each task ("5 samples from each of our environments", section 5.2)."""

from collections import Counter
from collections.abc import Sequence

from stages.records import Trajectory


def first_of_tasks(taus: Sequence[Trajectory], per_task: int | None) -> list[Trajectory]:
    """Return the first so many trajectories of each task, in their order; None takes all."""
    seen: Counter[str] = Counter()
    kept = []
    for tau in taus:
        seen[tau.task] += 1
        if per_task is None or seen[tau.task] <= per_task:
            kept.append(tau)
    return kept
