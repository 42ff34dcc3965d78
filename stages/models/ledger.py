"""What the calls in a log have cost, and a budget that a run does not pass.

Pure but for reading `budget.json`. Money is reckoned from whole numbers of tokens, so that a sum is
the same whatever the order of its parts. What is not certain is reckoned at the most that it can
be: a request under way, one whose answer was lost, an answer without token counts.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, ValidationError

from stages.errors import UserError
from stages.models.call_log import IMPORTED, Batch, CallLog, Failure, Intent, Line, Result
from stages.models.prices import Price
from stages.params import Section
from stages.records import first_error

BUDGET = "budget.json"
# Failures after which the server may have worked all the same, and may bill it.
MAYBE_PAID = ("timeout", "transport", "malformed", "not_an_api", "missing")
# The one transport failure that comes before anything is sent.
NEVER_SENT = "transport: ConnectError"


class PricedModel(Section):
    """A model at an address (host and port), and what its tokens cost."""

    host: str
    name: str
    price: Price


class Budget(Section):
    """The most US dollars that all calls of a log may cost, and the prices to reckon with."""

    limit: float = Field(ge=0)
    models: tuple[PricedModel, ...]

    @property
    def prices(self) -> dict[tuple[str, str], Price]:
        """The prices by host and name."""
        return {(model.host, model.name): model.price for model in self.models}


def budget_path(log: Path) -> Path:
    """Return where the budget of a call log lies: beside it, so that it makes nothing stale."""
    return log.with_name(BUDGET)


def read_budget(log: Path) -> Budget | None:
    """Return the budget of a call log, None where there is none. Raises UserError if damaged."""
    path = budget_path(log)
    try:
        return Budget.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None


@dataclass
class Tokens:
    """Tokens in and out."""

    prompt: int = 0
    reply: int = 0

    def add(self, prompt: int, reply: int) -> None:
        """Add so many."""
        self.prompt += prompt
        self.reply += reply


@dataclass
class Entry:
    """What one stage asked of one model at one host.

    Attributes:
        answers: answers by status that were asked for here; `imported` came from an export.
        by_batch: how many of the answers came by batch.
        failed: requests that brought no answer.
        maybe: requests that may have been billed though no answer came of them.
        uncounted: answers without token counts.
        paid: tokens that were billed for certain, live (False) and by batch (True).
        limits: the most tokens that `maybe` and `uncounted` can have taken, likewise.
    """

    answers: Counter[str] = field(default_factory=Counter)
    imported: int = 0
    by_batch: int = 0
    failed: int = 0
    maybe: int = 0
    uncounted: int = 0
    paid: dict[bool, Tokens] = field(default_factory=lambda: {False: Tokens(), True: Tokens()})
    limits: dict[bool, Tokens] = field(default_factory=lambda: {False: Tokens(), True: Tokens()})

    @property
    def asked(self) -> bool:
        """Whether anything here can have cost money."""
        return bool(self.answers or self.failed or self.maybe)


Key = tuple[str, str, str]  # stage, host, name of the model


class Ledger:
    """The cost of the lines that it was given, by stage and model; it grows line by line."""

    def __init__(self, prices: Mapping[tuple[str, str], Price]) -> None:
        """Take the prices by host and name of the model."""
        self.prices = dict(prices)
        self.entries: dict[Key, Entry] = {}
        self._open: dict[str, Intent] = {}

    def add(self, line: Line) -> None:
        """Take in the next line of the log."""
        if isinstance(line, Batch):
            return
        if isinstance(line, Intent):
            # One that is open still was never followed: it stays among those maybe paid.
            self._open[line.key] = line
            entry = self._entry(line)
            entry.maybe += 1
            entry.limits[line.batch is not None].add(line.prompt_limit, line.reply_limit)
            return
        imported = isinstance(line, Result) and line.time == IMPORTED
        intent = None if imported else self._open.pop(line.key, None)
        if isinstance(line, Result):
            self._answer(line, intent)
        elif intent is not None:
            self._entry(intent).failed += 1
            if line.kind not in MAYBE_PAID or line.body == NEVER_SENT:
                self._settle(intent)

    def _answer(self, line: Result, intent: Intent | None) -> None:
        if intent is None:
            # Nobody knows its stage: an export holds keys and answers only.
            self._entry(Intent(key="", attempt=0, id="-", model=line.model or "-")).imported += 1
            return
        if not intent.model and line.model:
            intent = intent.model_copy(update={"model": line.model})
            self._move(intent)
        entry = self._entry(intent)
        entry.answers[line.status] += 1
        entry.by_batch += line.batch is not None
        if line.status == "bad_request":
            self._settle(intent)
            return
        prompt, reply = (line.usage.get(f"{kind}_tokens") for kind in ("prompt", "completion"))
        if prompt is None or reply is None:
            # At the most that it can be: the limits stay, though it is no longer in doubt whether.
            entry.uncounted += 1
            entry.maybe -= 1
            return
        self._settle(intent)
        entry.paid[line.batch is not None].add(prompt, reply)

    def _settle(self, intent: Intent) -> None:
        """Take back what was reckoned for a request under way."""
        entry = self._entry(intent)
        entry.maybe -= 1
        entry.limits[intent.batch is not None].add(-intent.prompt_limit, -intent.reply_limit)

    def _move(self, intent: Intent) -> None:
        """Count an old log's intent, which names no model, with the model that replied."""
        self._entry(intent.model_copy(update={"model": ""})).maybe -= 1
        self._entry(intent).maybe += 1

    def _entry(self, intent: Intent) -> Entry:
        stage = intent.id.split("/")[0] or "-"
        return self.entries.setdefault((stage, intent.host, intent.model or "-"), Entry())

    def price(self, key: Key) -> Price | None:
        """Return the price of an entry's model, None where it is not known."""
        price = self.prices.get(key[1:])
        return price if price is not None and price.dollars(0, 0) is not None else None

    def dollars(self, key: Key) -> tuple[float, float] | None:
        """Return an entry's certain dollars and the most of the others, None without a price."""
        price, entry = self.price(key), self.entries[key]
        if price is None:
            return None
        certain, maybe = (
            sum(price.dollars(t.prompt, t.reply, batch) or 0.0 for batch, t in tokens.items())
            for tokens in (entry.paid, entry.limits)
        )
        return certain, maybe

    def total(self) -> tuple[float, float]:
        """Return the certain dollars and the most of the others, over all that has a price."""
        each = [self.dollars(key) or (0.0, 0.0) for key in sorted(self.entries)]
        return sum(certain for certain, _ in each), sum(maybe for _, maybe in each)

    def unpriced(self) -> list[Key]:
        """Return the entries that can have cost money and have no price."""
        return [k for k, entry in self.entries.items() if entry.asked and self.price(k) is None]


def ledger_of(log: CallLog, prices: Mapping[tuple[str, str], Price]) -> Ledger:
    """Return the ledger of all lines of a log."""
    ledger = Ledger(prices)
    for line in log.lines():
        ledger.add(line)
    return ledger


class Guard:
    """Keeps the calls to one model within the budget of their log, on behalf of its one writer.

    A request is counted at the most that it can take from its intent on, so requests under way are
    within the budget too, and a kill loses no count.

    Args:
        budget: the budget.
        log: the call log, locked; all that is written to it from now on must come to `add`.
        host: host and port of the model.
        name: name of the model.

    Raises:
        UserError: the budget has no price for this model.
    """

    def __init__(self, budget: Budget, log: CallLog, host: str, name: str) -> None:
        price = budget.prices.get((host, name))
        if price is None or price.dollars(0, 0) is None:
            raise UserError(
                f"{budget_path(log.path)} sets a budget and has no price for {name} at {host}; set"
                " it under prices in params and the budget anew (make budget USD=...), or remove"
                " the budget (python -m stages.ledger --params params.yaml --no-budget)"
            )
        self._price, self._budget = price, budget
        self._ledger = ledger_of(log, budget.prices)

    def add(self, line: Line) -> None:
        """Take in a line that was written to the log."""
        self._ledger.add(line)

    def most(self, intent: Intent) -> float:
        """Return the most dollars that a request can take."""
        batch = intent.batch is not None
        return self._price.dollars(intent.prompt_limit, intent.reply_limit, batch) or 0.0

    def room(self) -> float:
        """Return the dollars that are left, all that is in doubt taken at its most."""
        return self._budget.limit - sum(self._ledger.total())

    def refusal(self, intent: Intent) -> str:
        """Return the line that ends a run."""
        certain, maybe = self._ledger.total()
        return (
            f"the budget of USD {self._budget.limit:g} does not hold the next request:"
            f" {certain:.4f} are spent, at most {maybe:.4f} more may have been billed, and it may"
            f" take {self.most(intent):.4f}; `make budget USD=...` raises it; run again to go on,"
            " answers so far are kept"
        )
