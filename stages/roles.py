"""Student and teacher: how a model is decoded and addressed in each role."""

from stages.models.chat import Sampling
from stages.params import Section


class Role(Section):
    """A model in the role of student or teacher.

    `system` is the system prompt, explicit so that no chat template inserts one silently; null
    sends none and leaves it to the template.
    """

    system: str | None
    sampling: Sampling
