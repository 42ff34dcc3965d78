"""What params.yaml says of the report."""

from pydantic import Field

from stages.grid import Slug
from stages.params import Section


class ReportSection(Section):
    """How tables are made.

    `bootstrap` is the number of resamples, of sampled sign patterns too; `seed` seeds both.
    `labels` gives the printed names of students, teachers and conditions (default: the slug in
    words); `paper_students` says which of the paper's student sizes stands beside a student.
    """

    bootstrap: int = Field(ge=100)
    seed: int = Field(ge=0)
    labels: dict[Slug, str]
    paper_students: dict[Slug, str]

    def label(self, slug: str) -> str:
        """Return the printed name of a student, teacher or condition."""
        return self.labels.get(slug, slug.replace("_", " ").title())
