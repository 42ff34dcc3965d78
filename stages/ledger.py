r"""Ledger: what the calls in the call log have cost, by stage and model.

    python -m stages.ledger --params params.yaml
    python -m stages.ledger --params params.yaml --budget 5

Dollars come from the token counts of the answers and from `prices` in params. `maybe` is the most
that may have been billed beside it: requests whose answer was lost, and answers without token
counts. What came by an import was paid for elsewhere and costs nothing here.

A budget is the most US dollars that all calls of a log may cost. It lies beside the log, with the
prices of the served models as params now give them, and every run obeys it, a queued one as well:
it stops before a request that might pass it. A higher one lets the next run go on.
"""

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.files import write_json
from stages.grid import Slug
from stages.model_specs import MODEL_SPEC, ServedSpec
from stages.models.call_log import CallLog, default_log, host_of
from stages.models.ledger import (
    Budget,
    Ledger,
    PricedModel,
    budget_path,
    ledger_of,
    read_budget,
)
from stages.models.prices import FREE, Price
from stages.params import Params, check
from stages.text_table import columns

PARAMS = ("models", "prices")


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = make_parser("stages.ledger", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--log", type=Path, help="call log; by default the one that stages use")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--budget", type=float, metavar="USD", help="set a budget for the log")
    change.add_argument("--no-budget", action="store_true", help="remove the budget")
    return parser


def served(params: Path) -> dict[str, tuple[ServedSpec, Price | None]]:
    """Return the served models of params with their prices; one without a key costs nothing."""
    values = Params(params, PARAMS)
    prices = values.get("prices", dict[Slug, Price])
    specs = {
        slug: check(params, f"models.{slug}", spec, MODEL_SPEC)
        for slug, spec in values.get("models", dict[Slug, Any]).items()
    }
    return {
        slug: (spec, prices.get(slug) if spec.needs_key else FREE)
        for slug, spec in specs.items()
        if isinstance(spec, ServedSpec)
    }


def price_table(
    models: Mapping[str, tuple[ServedSpec, Price | None]], env: Mapping[str, str]
) -> dict[tuple[str, str], Price]:
    """Return prices by host and name, at the address in params and at that in the environment."""
    return {
        (host_of(address), spec.name): price
        for spec, price in models.values()
        if price is not None
        for address in (spec.base_url, env.get(f"{spec.env}_BASE_URL") or spec.base_url)
    }


def table(ledger: Ledger, models: Mapping[str, tuple[ServedSpec, Price | None]]) -> str:
    """Return the ledger as text: a line a stage and model, the totals, and the prices."""
    head = ("stage", "model", "server", "answers", "by batch", "imported", "failed", "maybe paid")
    rows: list[tuple[str, ...]] = [(*head, "tokens in", "tokens out", "USD", "USD maybe")]
    for key, entry in sorted(ledger.entries.items()):
        if not (entry.asked or entry.imported):
            continue
        dollars = ledger.dollars(key) if entry.asked else (0.0, 0.0)
        stage, host, model = key
        paid = entry.paid.values()
        rows.append(
            (
                stage,
                model,
                host or "-",
                *map(str, (entry.answers.total(), entry.by_batch, entry.imported, entry.failed)),
                str(entry.maybe),
                f"{sum(tokens.prompt for tokens in paid):,}",
                f"{sum(tokens.reply for tokens in paid):,}",
                *(("?", "?") if dollars is None else (f"{part:.4f}" for part in dollars)),
            )
        )
    certain, maybe = ledger.total()
    lines = columns(rows) if ledger.entries else ["no calls in the log yet"]
    lines.append(f"\nUSD {certain:.4f} for certain, and at most {maybe:.4f} more")
    lines += _notes(ledger)
    lines += price_lines(models)
    return "\n".join(lines) + "\n"


def price_lines(models: Mapping[str, tuple[ServedSpec, Price | None]]) -> list[str]:
    """Return a line for each model that costs money: its price and as of when."""
    lines = []
    for slug, (spec, price) in models.items():
        if not spec.needs_key:
            continue
        if price is None or price.dollars(0, 0) is None:
            lines.append(f"price of {slug} not known: set prices.{slug}")
            continue
        lines.append(
            f"price of {slug}: USD {price.input:g} in, {price.output:g} out per million tokens"
            f" as of {price.as_of or 'an unknown date'}, by batch {price.batch:g} of it"
        )
    return lines


def _notes(ledger: Ledger) -> list[str]:
    """Return lines on what the table does not show by itself."""
    entries = ledger.entries.values()
    notes = []
    statuses = sum((entry.answers for entry in entries), start=Counter[str]())
    other = [f"{count} {status}" for status, count in sorted(statuses.items()) if status != "stop"]
    if other:
        notes.append("of the answers: " + ", ".join(other))
    uncounted = sum(entry.uncounted for entry in entries)
    if uncounted:
        notes.append(f"{uncounted} answers without token counts, reckoned at the most under maybe")
    for stage, host, model in sorted(ledger.unpriced()):
        notes.append(f"not counted, as its price is not known: {stage} {model} at {host or '-'}")
    return notes


def set_budget(
    log: Path,
    limit: float,
    models: Mapping[str, tuple[ServedSpec, Price | None]],
    env: Mapping[str, str],
) -> None:
    """Write the budget of a log. Raises UserError where the limit is no amount of money."""
    if not (math.isfinite(limit) and limit >= 0):
        raise UserError(f"--budget must be US dollars from 0, got {limit:g}")
    keyed = {slug: (spec, price) for slug, (spec, price) in models.items() if spec.needs_key}
    priced = tuple(
        PricedModel(host=host, name=name, price=price)
        for (host, name), price in sorted(price_table(keyed, env).items())
    )
    write_json(budget_path(log), Budget(limit=limit, models=priced).model_dump(mode="json"))


def budget_lines(log: CallLog) -> list[str]:
    """Return what is left of a log's budget, as a line where there is one."""
    budget = read_budget(log.path)
    if budget is None:
        return []
    left = budget.limit - sum(ledger_of(log, budget.prices).total())
    return [f"budget USD {budget.limit:g}, at least {left:.4f} left ({budget_path(log.path)})"]


def batch_lines(log: CallLog) -> list[str]:
    """Return a line for each batch that is not collected; its requests are among the maybe paid."""
    return [
        f"batch {batch.id or '(not known whether handed in)'}: {len(batch.keys)} requests are not"
        " collected yet; a run with <ENV>_BATCH=1 does it"
        for batch in log.open_batches()
    ]


def main(args: argparse.Namespace) -> None:
    """Change the budget where that is asked, and print the ledger."""
    models = served(args.params)
    log = CallLog(args.log or default_log(os.environ))
    if args.budget is not None:
        set_budget(log.path, args.budget, models, os.environ)
    if args.no_budget:
        budget_path(log.path).unlink(missing_ok=True)
    sys.stdout.write(table(ledger_of(log, price_table(models, os.environ)), models))
    for line in batch_lines(log) + budget_lines(log):
        print(line)


if __name__ == "__main__":
    run(main, parser())
