"""What params.yaml says of the report."""

from pydantic import Field

from stages.grid import Slug
from stages.params import Section

# The paper's names of what it trains (Tables 4 and 5).
_METHODS = {
    "imitative_dpo": "Imitative DPO",
    "feedback_dpo": "Feedback DPO",
    "imitative_sft": "Imitative SFT",
    "feedback_sft": "Feedback SFT",
    "feedback_sft_cleaned": "Feedback SFT*",
    "following_sft": "Following SFT",
    "following_dpo": "Following DPO",
}


class ReportSection(Section):
    """How tables are made.

    `bootstrap` is the number of resamples, of sampled sign patterns too; `seed` seeds both.
    `labels` gives the printed names of students, teachers, conditions and methods (default: the
    slug in words); `paper_students` says which of the paper's student sizes stands beside a
    student. A difference of scores below `equivalence_margin` counts as none: the paper calls
    learning from feedback similar to learning from the teacher (abstract) without saying how
    similar.
    """

    bootstrap: int = Field(ge=100)
    seed: int = Field(ge=0)
    labels: dict[Slug, str]
    paper_students: dict[Slug, str]
    equivalence_margin: float = Field(default=0.05, gt=0, lt=1)

    def label(self, slug: str) -> str:
        """Return the printed name of a student, teacher, condition or method.

        A folder `<student>-<suite>-<method>-<seed>`, possibly trained further, is called by what
        was done to whom.
        """
        root, *trained = slug.split("-")
        label = self.labels.get(root) or _METHODS.get(root) or root.replace("_", " ").title()
        for method, seed in zip(trained[1::3], trained[2::3], strict=True):
            label += f" after {self.label(method)}, seed {seed}"
        return label
