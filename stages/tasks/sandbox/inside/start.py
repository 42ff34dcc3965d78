"""The start that both processes share: close the door, then forget how it was closed."""

import os
import sys
from typing import Any

from .limits import limit


def start(settings: dict[str, Any]) -> None:
    """Confine this process as its settings say; raises OSError where the kernel refuses."""
    limit(settings["limits"])  # First, because the filter refuses to change them.
    if settings["landlock"] is not None:
        # ctypes takes longer to import than the rest, and bubblewrap does not need it.
        from .confine import confine

        confine(settings["landlock"], settings["parent"])
    sys.argv = [""]
    os.environ.clear()
