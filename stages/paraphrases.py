"""Which prompts are also tried in other words (`paraphrased` in params.yaml).

The paper's prompts are lost (Appendix A, Figure 2), so what hangs on the wording of ours is part of
every result: each prompt is tried in other words, one at a time, all else and the seeds the same.
"""

from typing import Annotated, Literal

from pydantic import Field

from stages.grid import Slug
from stages.params import Section


class Paraphrased(Section):
    """The cells of the sensitivity table.

    `wordings` are the folders of prompts/paraphrases/, `seeds` those of the grid that are run. On
    the suites of `questions`, the task and the retry prompt are tried, the feedback prompts of
    `conditions` (which fall into `asked`, `compared`, `told` and `own`, as in `Grid`) and the
    judging prompts of `verdicts`; the prompt of a choice where `pools` names whose candidates are
    chosen from; the cleaning prompt on the lessons of the suites `cleaned`; on the suites of
    `games`, the prompt of a turn and that of playing again. Of test questions, only the first
    `per_task` of each task are asked.
    """

    wordings: tuple[Slug, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    questions: tuple[Slug, ...] = Field(min_length=1)
    per_task: Annotated[int, Field(ge=1)] | Literal["all"]
    games: tuple[Slug, ...]
    conditions: tuple[Slug, ...]
    asked: tuple[Slug, ...]
    compared: tuple[Slug, ...]
    told: tuple[Slug, ...]
    own: tuple[Slug, ...]
    verdicts: tuple[Slug, ...]
    pools: tuple[Slug, ...]
    cleaned: tuple[Slug, ...]

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompts that each wording must have, by step and name."""
        return (
            *("respond/task", "revise/retry"),
            *(f"feedback/{slug}" for slug in self.conditions),
            *(f"judge/{slug}" for slug in self.verdicts),
            *(("select/choice",) if self.pools else ()),
            *(("clean/clean",) if self.cleaned else ()),
            *(("respond/game", "revise/game") if self.games else ()),
        )
