"""Student and teacher: how a model is decoded and addressed in each role."""

from stages.models.chat import Sampling
from stages.params import Section


class Role(Section):
    """A model in the role of student or teacher.

    `system` is the system prompt, explicit since chat templates may insert one of their own
    where there is none; null sends none.
    """

    system: str | None
    sampling: Sampling
