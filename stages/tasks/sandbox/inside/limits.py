"""Limits of a process, set by itself before it runs code that is not ours."""

import resource
import sys


def limit(limits: dict[str, int]) -> None:
    """Set each named resource (CPU, AS, ...) to a value, or to the hard limit if that is lower."""
    for name, value in limits.items():
        kind: int = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        top = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        # SIGXCPU tells a CPU limit from a kill; the second after it ends what ignores the signal.
        ceiling = value + 1 if name == "CPU" else value
        resource.setrlimit(kind, (min(value, top), min(ceiling, top)))
