"""What flows between stages: one typed record a line of JSONL, checked on read and on write.

The names follow section 2 of the paper: a student trajectory tau_i, teacher feedback f on it, and
the feedback-conditioned trajectory tau_f.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.errors import UserError
from stages.files import write_text

Split = Literal["train", "test"]
FinishReason = Literal["stop", "length", "content_filter", "refusal", "bad_request", "error"]
FeedbackStatus = Literal[
    "ok", "truncated", "empty", "content_filter", "refusal", "bad_request", "error"
]
Outcome = Literal["correct", "incorrect", "unparsed", "errored", "not_run"]
Choice = Literal["likeliest", "named", "unreadable", "only", "none"]


class Record(BaseModel):
    """Base of all records: immutable, exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Message(Record):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Completion(Record):
    """One reply of a model, with why it ended and what it cost.

    `finish_reason` is `length` for a reply cut by the token limit. Where there is no reply it is
    `bad_request` if the server refused the request for good, `error` if a new run may bring one;
    `detail` then says why. `logprob` is the sum of log p(token | conversation, tokens before)
    in nats over the reply's tokens, the end token included, raw at temperature 1. Counts and
    `logprob` are None where an engine cannot tell.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)
    logprob: float | None = None
    detail: str | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no reply: an error, a refusal or a filter came instead."""
        return self.finish_reason not in ("stop", "length")


class Exchange(Record):
    """One (state, action) pair of a trajectory: the messages shown and the reply to them."""

    messages: tuple[Message, ...]
    reply: Completion


class Item(Record):
    """One task instance i, as it is presented to the student.

    `answer_format` completes the sentence "end with a line 'Answer: <X>', where <X> is ...";
    `family` names the extraction rule; `options` maps each admissible answer to its text (empty for
    free-form answers); `flags` marks known bad items (`bad:<why>`) and duplicates
    (`duplicate:<item id>`). An instance of an environment has a `state`; its `task` names the
    environment, `question` and `answer_format` are those of the opening turn.
    """

    id: str
    suite: str
    task: str
    split: Split
    index: int = Field(ge=0)
    question: str = Field(min_length=1)
    answer_format: str
    family: str
    options: dict[str, str]
    target: str
    flags: tuple[str, ...] = ()
    state: dict[str, Any] | None = None


class Trajectory(Record):
    """A trajectory tau: the exchanges of one model on one item.

    For tau_f, `condition` and `feedback` say what it was conditioned on. Where a feedback failed,
    the original answer stands and `kept_original` says why. `draw` numbers the candidates of
    best-of-k sampling. `method` is the training method of a student that was trained from `model`.
    """

    item: str
    suite: str
    task: str
    split: Split
    model: str
    seed: int
    exchanges: tuple[Exchange, ...] = Field(min_length=1)
    condition: str | None = None
    feedback: str | None = None
    kept_original: str | None = None
    draw: int | None = None
    method: str | None = None

    @property
    def last(self) -> Completion:
        """The reply that is scored."""
        return self.exchanges[-1].reply

    @property
    def failed(self) -> bool:
        """Whether there is no reply to score."""
        return self.last.failed


class Feedback(Record):
    """Teacher feedback f on a student trajectory, under one condition.

    `text` is None where there is none to give (`status` says why); `exchange` is None where no
    teacher was asked. `source` is the item that the text was written about, where that is another.
    """

    item: str
    suite: str
    task: str
    split: Split
    condition: str
    student: str
    teacher: str | None
    seed: int
    status: FeedbackStatus
    text: str | None
    exchange: Exchange | None
    source: str | None = None


class Judgement(Record):
    """What the teacher said of a student trajectory's correctness (section 5.1.1).

    `exchange` is None where the student had given no reply to judge. What the teacher's words mean
    is read later, by `stages.verdicts`.
    """

    item: str
    suite: str
    task: str
    split: Split
    verdict: str
    student: str
    teacher: str
    seed: int
    exchange: Exchange | None


class Selection(Record):
    """What chooses one of the candidates of best-of-k sampling (section 5.2).

    `draws` are the candidates with a reply, in the order shown. By the student's logits, `logprobs`
    are log p(reply | prompt without feedback), summed over so many `tokens`, end token included; by
    choice, `exchange` is the question and what was said. With a single candidate nobody is asked.
    Which one it comes to is read later, by `stages.choices`.
    """

    item: str
    suite: str
    task: str
    split: Split
    selector: str
    condition: str | None
    student: str
    chooser: str
    seed: int
    draws: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    tokens: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    exchange: Exchange | None = None

    @model_validator(mode="after")
    def _one_a_draw(self) -> "Selection":
        if (self.logprobs is None) != (self.tokens is None):
            raise ValueError("logprobs and tokens go together")
        given = [values for values in (self.logprobs, self.tokens) if values is not None]
        if any(len(values) != len(self.draws) for values in given):
            raise ValueError("not one value for each of draws")
        return self


class Cleaning(Record):
    """The teacher's rewriting of feedback-conditioned replies without their artefacts (5.3).

    `exchanges` has one for each reply of tau_f, None where that has no text; it is empty where
    there was nothing to clean: no reply, or no feedback that it answers. Whether a rewriting is
    taken is decided later, by `stages.cleaning`: a changed extraction rule asks nobody anew.
    """

    item: str
    suite: str
    task: str
    split: Split
    condition: str
    student: str
    teacher: str
    seed: int
    exchanges: tuple[Exchange | None, ...]


class Fidelity(Record):
    """What became of one feedback-conditioned trajectory in cleaning, and what it was cleaned of.

    `status` says whether any cleaned text is taken: `cleaned`; `same` where the teacher gave the
    text back as it was; `answer_changed` where the extracted answer differs, which is refused;
    `nothing` where there was nothing to clean; else why the teacher's reply is none. `kinds` are
    the artefacts found ("Here's an updated version", thanks for the feedback, ...), each once,
    `kinds_after` those in what is taken; `artefact` and `artefact_after` say whether there is any.
    """

    item: str
    suite: str
    task: str
    split: Split
    condition: str
    student: str
    seed: int
    status: Literal["cleaned", "same", "answer_changed", "nothing", "truncated", "empty", "failed"]
    artefact: bool
    artefact_after: bool
    kinds: tuple[str, ...]
    kinds_after: tuple[str, ...]
    words: int = Field(ge=0)
    words_after: int = Field(ge=0)


class Demonstration(Record):
    """One example of SFT: an exchange (state -> action), in TRL's conversational form.

    `environment` says which model learns from it: that of one environment; None for the only one.
    """

    item: str
    task: str
    environment: str | None
    prompt: tuple[Message, ...] = Field(min_length=1)
    completion: tuple[Message, ...] = Field(min_length=1)


class Preference(Record):
    """One example of DPO: two actions at one state, in TRL's conversational form.

    `environment` as in Demonstration.
    """

    item: str
    task: str
    environment: str | None
    prompt: tuple[Message, ...] = Field(min_length=1)
    chosen: tuple[Message, ...] = Field(min_length=1)
    rejected: tuple[Message, ...] = Field(min_length=1)


class Dropped(Record):
    """A train item that gave no example, and why."""

    item: str
    task: str
    reason: str


class Training(Record):
    """One training run, as it really went: a model of one cell, of the suite or one environment.

    `examples` are those trained on, at least once; `too_long` were dropped for their length, `cut`
    lost tokens. `tokens` are those of all examples over all steps, `target_tokens` the ones in the
    loss.
    `changed` is the share of weights that differ from the base model's in the saved folder's
    precision, `trainable` the number of weights that were trained. `config` holds the fields of
    TRL's config as they ran; `fallbacks` what the machine could not do as asked, in words.
    """

    suite: str
    learner: str
    method: str
    seed: int
    objective: Literal["sft", "dpo"]
    preset: str
    environment: str | None
    examples: int = Field(ge=0)
    too_long: int = Field(default=0, ge=0)
    cut: int = Field(default=0, ge=0)
    steps: int = Field(ge=0)
    batch: int = Field(ge=1)
    tokens: int = Field(ge=0)
    target_tokens: int = Field(ge=0)
    trainable: int = Field(ge=0)
    changed: float = Field(ge=0, le=1)
    first_loss: float
    last_loss: float
    config: dict[str, Any]
    adapter: dict[str, Any] | None
    quantization: dict[str, Any] | None
    fallbacks: tuple[str, ...]


class Leak(Record):
    """What the answer extractor finds in a feedback: the leak meter.

    `answer` is what the tolerant extractor reads out of the text as if it were a reply to the item;
    `shuffled` is the same for the feedback on another item of the subtask, which tells what is
    found by chance. None where nothing is found; `given` and `shuffled_given` say whether there was
    a text.
    """

    suite: str
    task: str
    item: str
    split: Split
    student: str
    condition: str
    seed: int
    given: bool
    answer: str | None
    gold: bool
    shuffled_given: bool
    shuffled: str | None
    shuffled_gold: bool


class Score(Record):
    """How one trajectory did: a pure function of its item and its text.

    `strict` and `tolerant` are the normalised answers under each extractor, None where there is
    none; `score` and `solved` follow the strict one. `cues` counts the answer lines found; `empty`
    says that a reply came without text. `draw` tells the candidates of best-of-k apart; for a
    chosen one, `selector` chose it and `choice` says how it came about. `method` as in Trajectory.
    `teacher` gave the feedback, where several did. Of a program, `rule` says how it was found in
    the reply, `checks` how each of its tests went, and `rote` whether it seems to repeat the answer
    of a test that was shown; without a sandbox it is `not_run`, which is neither right nor wrong.
    """

    step: str
    suite: str
    task: str
    item: str
    split: Split
    model: str
    condition: str | None
    seed: int
    outcome: Outcome
    score: float = Field(ge=0)
    solved: bool
    strict: str | None
    tolerant: str | None
    tolerant_score: float = Field(ge=0)
    cues: int = Field(ge=0)
    finish_reason: FinishReason
    empty: bool
    kept_original: str | None
    flags: tuple[str, ...]
    prompt_tokens: int | None
    completion_tokens: int | None
    draw: int | None = None
    selector: str | None = None
    choice: Choice | None = None
    method: str | None = None
    teacher: str | None = None
    rule: str | None = None
    checks: tuple[str, ...] | None = None
    rote: bool | None = None

    @property
    def truncated(self) -> bool:
        """Whether the token limit cut the reply: that is no failure of the extraction."""
        return self.finish_reason == "length"


R = TypeVar("R", bound=Record)


def first_error(error: ValidationError) -> str:
    """Return pydantic's first complaint as `field: message`, on one line."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = first["msg"].splitlines()[0]
    return f"{field}: {message}" if field else message


def read_jsonl(path: Path, kind: type[R], unique: str | None = None) -> list[R]:
    """Read one record a line, no two with the same `unique` field.

    Raises:
        UserError: names file, line and field.
    """
    try:
        return parse_jsonl(path.read_text(encoding="utf-8"), str(path), kind, unique)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{number}: not UTF-8 (byte {error.start} of the file)") from None


def parse_jsonl(text: str, name: str, kind: type[R], unique: str | None = None) -> list[R]:
    """Read what `read_jsonl` reads out of a file that is called `name`."""
    records: list[R] = []
    seen = set()
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            records.append(kind.model_validate_json(line))
        except ValidationError as error:
            raise UserError(f"{name}:{number}: {first_error(error)}") from None
        if unique is not None:
            value = getattr(records[-1], unique)
            if value in seen:
                raise UserError(f"{name}:{number}: {unique}: {value} stands there twice")
            seen.add(value)
    return records


def write_jsonl(path: Path, records: Iterable[Record]) -> None:
    """Write one record a line, whole or not at all; each is checked against its type once more."""
    lines = []
    for record in records:
        line = record.model_dump_json()
        type(record).model_validate_json(line)
        lines.append(line + "\n")
    write_text(path, "".join(lines))
