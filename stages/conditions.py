"""Feedback conditions (paper, section 5.1.2): what each may see."""

from typing import Literal

from pydantic import Field

from stages.params import Section

Access = Literal["target", "teacher_answer", "answer_format", "other_feedback"]


class Condition(Section):
    """One feedback condition; its key in params names its template and its cells.

    `sees` lists what the template is given beyond the student's trajectory; a template that asks
    for more does not render. `sentences` is the length that it asks the teacher for, null for no
    limit.
    """

    sees: tuple[Access, ...]
    sentences: int | None = Field(ge=1)
