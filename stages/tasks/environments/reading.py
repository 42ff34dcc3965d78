"""Reading the action of a reply: the last line that announces an answer."""

import re

# As in extraction.yaml; no two neighbouring unbounded repeats share a character.
_CUE = re.compile(
    r"(?im)^[ \t>#*_`\"'-]*(?:(?:so|thus|hence|therefore),?[ \t]+)?(?:(?:the|my|our)[ \t]+)?"
    r"(?:(?:final|correct|next)[ \t]+){0,2}(?:answer|guess)[ \t*_`\"']*"
    r"(?:is\b[ \t*_`\"']*[:=]?|[:=])[ \t*_`\"']*"
)


def answer_line(text: str) -> str | None:
    """Return what stands behind the last "Answer:" on its line, stripped; None without one."""
    last = None
    for match in _CUE.finditer(text):
        last = match
    if last is None:
        return None
    stop = text.find("\n", last.end())
    line = text[last.end() : len(text) if stop < 0 else stop].strip()
    if again := _CUE.match(line):
        line = line[again.end() :]
    return line.strip(" \t*_`\"'$") or None
