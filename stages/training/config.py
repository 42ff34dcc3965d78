"""What params.yaml says of training (paper, sections 4.3 and 5.3, Appendix B)."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stages.grid import Slug
from stages.params import Section

Objective = Literal["sft", "dpo"]
Target = Literal["teacher", "retry", "cleaned"]
Judge = Literal["ground_truth", "error_identification"]


class Lessons(Section):
    """The trajectories on the train items of a suite that all methods learn from.

    Attributes:
        condition: of the feedback: "We give the teacher access to the ground truth" (Table 5).
        negative_sampling: who says which answers were right already, so that their items are
            removed "from the feedback conditioned training sets" (5.2); null removes none.
        models: whether a method trains one model for the suite, or one for each of its
            environments; not stated ("we limit our datasets to 100 samples per iteration", 4.3).
        match_n: whether all arms are trained on the same items: those that every arm could use.
        following_per_task: items of each environment for feedback-following finetuning ("5 samples
            from each of our environments", 5.2), at most.
        keep_truncated: whether replies that the token limit cut are learnt from, as if they ended
            there; not stated.
    """

    condition: Slug
    negative_sampling: Judge | None
    models: Literal["joint", "per_environment"]
    match_n: bool
    following_per_task: int = Field(ge=1)
    keep_truncated: bool = False


class Method(Section):
    """One training method: a row of Table 5, or a pair of rows of Table 4's finetuning block.

    Attributes:
        objective: SFT on the target, or DPO, which prefers it to the student's own action.
        target: `teacher` (Imitative), `retry` (Feedback) or `cleaned` (Feedback SFT*). In
            feedback-following finetuning, `teacher` is the teacher's retry.
        negative_sampling: whether it applies to this arm; see `Lessons`.
        keep_correct_originals: train on a right original answer instead of dropping its item.
        only_solved_targets: drop targets that the environment does not score as solved (rejection
            sampling, as in ILF).
    """

    objective: Objective
    target: Target
    negative_sampling: bool = False
    keep_correct_originals: bool = False
    only_solved_targets: bool = False

    @model_validator(mode="after")
    def _fits(self) -> "Method":
        if self.keep_correct_originals and not (self.negative_sampling and self.objective == "sft"):
            raise ValueError("keep_correct_originals belongs to SFT with negative_sampling")
        return self


class Trainer(Section):
    """How an objective is trained.

    Attributes:
        preset: `as_printed` (Appendix B), `as_trl_2024` (what that did in the TRL of October 2024)
            or `fixed`; see `stages/training/presets.yaml`.
        args: fields of TRL's SFTConfig or DPOConfig, by their own names; they win over the preset.
        adapter: fields of peft's LoraConfig; null trains all weights.
        quantization: fields of transformers' BitsAndBytesConfig; null for none. Dropped, and said
            so, where there is no GPU.
        save: whole weights, or the adapter alone.
    """

    preset: Literal["as_printed", "as_trl_2024", "fixed"]
    args: dict[str, Any]
    adapter: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    save: Literal["merged", "adapter"] = "merged"

    @model_validator(mode="after")
    def _adapter(self) -> "Trainer":
        if self.adapter is None and (self.quantization is not None or self.save == "adapter"):
            raise ValueError("quantization and save: adapter need an adapter")
        return self


class Trainers(Section):
    """How each objective is trained."""

    sft: Trainer
    dpo: Trainer


Methods = Annotated[dict[Slug, Method], Field(min_length=1)]
