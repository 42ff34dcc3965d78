"""Seeds: one for each draw, derived from what the draw is for."""

import hashlib


def derive(*parts: object) -> int:
    """Return a seed in [0, 2**63) that is a fixed function of `parts`."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1
