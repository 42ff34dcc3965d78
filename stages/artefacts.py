"""What in a reply shows that it answers feedback: the "relics of the feedback" (section 5.3).

"The response to feedback often contains reference to the fact that that response is feedback
conditioned", as "Here's an updated version of the description" does (Figure 1). The detector looks
for phrases, not for words: a task may well speak of thanks, feedback loops and new versions. What
is said in yet another way is missed, so a rate is a lower bound.

Takes time linear in the text.
"""

import re

_NEW = r"(?:updated|revised|corrected|improved|refined|rewritten|modified|adjusted|cleaned|new)"
_WORK = r"(?:answer|response|reply|solution|explanation|reasoning|attempt|description|analysis)"
_ADVICE = r"(?:feedback|corrections?|suggestions?|guidance|comments?|advice|input|hints?)"
# Between two words that belong together: "your very helpful feedback".
_FEW = r"(?:[\w'-]{1,20}\s+){0,3}"
_FEEDBACK = (
    r"feedback\b(?!\s+(?:loop|mechanism|system|form|control|signal|circuit|cycle|effect)s?\b)"
)
_START = r"^[\W_]{0,8}"

_PATTERNS = {
    "announces_update": [
        rf"\bhere(?:'s|\s+is|\s+are)\s+(?:an?|the|my|your)\s+{_FEW}{_NEW}\s+"
        rf"(?:{_NEW}\s+)?(?:{_WORK}|version)\b",
        rf"{_START}(?:(?:my|the)\s+)?{_NEW}\s+(?:{_WORK}\s*(?:\bis\b|[*_]*:)|version\s*[*_]*:)",
        rf"\b(?:let\s+me|i'll|i\s+will|i\s+have|i've)\s+(?:now\s+)?"
        rf"(?:revised?|correct(?:ed)?|updated?|redo|redone|rewr(?:ite|itten)|fix(?:ed)?|improved?)"
        rf"\s+(?:my|the|this|that)\s+(?:{_WORK}|mistakes?|errors?)\b",
        r"\blet\s+me\s+try\s+(?:this\s+|that\s+|it\s+)?(?:once\s+)?again\b",
    ],
    "thanks": [
        rf"\bthank(?:s|\s+you)\s+(?:so\s+much\s+|very\s+much\s+|again\s+|a\s+lot\s+)?for\s+"
        rf"(?:(?:your|the|this|that|all)\s+{_FEW}{_ADVICE}|pointing|correcting|clarifying|catching)"
        r"\b",
        rf"\bi\s+(?:really\s+|do\s+)?appreciate\s+(?:your|the|this)\s+{_FEW}{_ADVICE}\b",
    ],
    "apology": [
        r"\bi\s+(?:\w{1,12}\s+)?apologi[sz]e\b",
        r"\b(?:my|sincere)\s+apologies\b",
        r"\bapologies\s+for\s+(?:the|my|any|that)\b",
        r"\bsorry\s+(?:for|about)\s+(?:the|my|any|that)\s+(?:\w{1,15}\s+)?"
        r"(?:mistakes?|errors?|confusion|oversight|misunderstanding|misreading)\b",
        rf"{_START}(?:yes,?\s+|ah,?\s+|oh,?\s+)?you(?:'re|\s+are)\s+"
        r"(?:absolutely\s+|quite\s+|completely\s+)?(?:right|correct)\b",
        r"\bi\s+(?:\w{1,12}\s+)?made\s+(?:a|an|the|some)\s+(?:\w{1,15}\s+)?(?:mistakes?|errors?)\b",
    ],
    "mentions_feedback": [
        rf"\b(?:your|teacher's|the\s+given|the\s+provided)\s+(?:[\w'-]{{1,20}}\s+)?{_FEEDBACK}",
        r"\b(?:based|reflecting|relying|acting)\s+(?:up)?on\s+(?:the|this|that)\s+"
        rf"(?:[\w'-]{{1,20}}\s+)?{_FEEDBACK}",
        r"\b(?:considering|following|given|us(?:e|ing)|incorporating|addressing|after|with|to|from)"
        rf"\s+(?:the|this|that)\s+{_FEEDBACK}",
        rf"\bthe\s+{_FEEDBACK}\s+"
        r"(?:provided|given|received|i\s+(?:got|received)|you|says|said|states|suggests?|mentions)\b",
        rf"\bfeedback\s+(?:on|about)\s+my\s+{_WORK}\b",
        r"\b(?:as|like)\s+you(?:'ve|\s+have)?\s+(?:\w{1,12}ly\s+)?"
        r"(?:suggested|pointed|mentioned|noted|said|advised|indicated|recommended)\b",
        r"\b(?:as|like)\s+(?:suggested|pointed\s+out|noted|advised)\s+"
        r"(?:by\s+(?:you|(?:the|my)\s+teacher)|in\s+(?:the|your)\s+feedback)\b",
    ],
    "mentions_previous": [
        r"\b(?:my|your)\s+(?:previous|earlier|original|initial|first|last|prior|old)\s+"
        rf"(?:incorrect\s+|wrong\s+)?{_WORK}\b",
        r"\bthe\s+(?:previous|earlier|original|initial|prior)\s+(?:answer|response|reply)\b",
        rf"\bin\s+(?:an|the)\s+(?:earlier|previous)\s+{_WORK}\b",
    ],
}
_KINDS = {
    kind: re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE)
    for kind, patterns in _PATTERNS.items()
}
KINDS = tuple(_KINDS)
"""What kinds of artefacts there are."""


def artefacts(text: str) -> tuple[str, ...]:
    """Return which kinds of artefacts a reply has, each once."""
    straight = text.replace("’", "'")
    return tuple(kind for kind, pattern in _KINDS.items() if pattern.search(straight))
