r"""Fidelity: what cleaning did to each feedback-conditioned answer (paper, section 5.3).

    python -m stages.fidelity --params params.yaml --items data/tasks/bbh/train.jsonl \
        --rules stages/tasks/extraction.yaml \
        --trajectories 'data/revise_train/bbh/{learner}-{seed}.jsonl' \
        --cleanings 'data/clean/bbh/{learner}-{seed}.jsonl' --out data/score/bbh/clean.jsonl

Which texts show that they answer feedback, before cleaning and after it, and which cleanings were
refused. Not the paper's.
"""

import argparse
from itertools import product
from pathlib import Path

from stages.artefacts import artefacts
from stages.cleaning import take
from stages.cli import make_parser, run
from stages.grading import open_grader
from stages.grid import cell_path
from stages.joining import by_item
from stages.params import Params
from stages.records import Cleaning, Fidelity, Item, Trajectory, read_jsonl, write_jsonl
from stages.tasks.grade import Grader

PARAMS = ("grid.learners", "grid.seeds")
PARAMS_PARAPHRASED = ("grid.learners", "paraphrased.seeds")


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.fidelity", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument(
        "--seeds",
        default="grid.seeds",
        choices=("grid.seeds", "paraphrased.seeds"),
        help="the key of params that lists them",
    )
    parser.add_argument("--items", type=Path, required=True, help="train Items (JSONL)")
    parser.add_argument(
        "--rules", type=Path, required=True, help="what grades: extraction rules, or environments"
    )
    parser.add_argument("--trajectories", required=True, help="tau_f: file pattern")
    parser.add_argument("--cleanings", required=True, help="file pattern")
    parser.add_argument("--out", type=Path, required=True, help="Fidelities to write (JSONL)")
    return parser


def assess(cleaning: Cleaning, retry: Trajectory, item: Item, grader: Grader) -> Fidelity:
    """Return what became of a reply. Nothing is found, nor counted, in a text that is refused."""
    taken = take(cleaning, retry, item, grader)
    before = [turn.reply.text for turn in retry.exchanges if not retry.failed]
    after = [text for text in taken.texts if text is not None]
    kinds, kinds_after = (
        tuple(dict.fromkeys(kind for text in texts for kind in artefacts(text)))
        for texts in (before, after)
    )
    return Fidelity(
        item=item.id,
        suite=item.suite,
        task=item.task,
        split=item.split,
        condition=cleaning.condition,
        student=cleaning.student,
        seed=cleaning.seed,
        status=taken.status,
        artefact=bool(kinds),
        artefact_after=bool(kinds_after),
        kinds=kinds,
        kinds_after=kinds_after,
        words=sum(len(text.split()) for text in before),
        words_after=sum(len(text.split()) for text in after),
    )


def main(args: argparse.Namespace) -> None:
    """Assess the cleanings of every declared cell."""
    params = Params(args.params, ("grid.learners", args.seeds))
    items = {item.id: item for item in read_jsonl(args.items, Item, "id")}
    rows: list[Fidelity] = []
    with open_grader(args.rules) as grader:
        for learner, seed in product(
            params.get("grid.learners", list[str]), params.get(args.seeds, list[int])
        ):
            cell = {"learner": learner, "seed": seed}
            path = cell_path("--trajectories", args.trajectories, cell)
            retries = by_item(path, Trajectory, items, args.items)
            path = cell_path("--cleanings", args.cleanings, cell)
            cleanings = by_item(path, Cleaning, items, args.items)
            rows += [
                assess(cleanings[item.id], retries[item.id], item, grader)
                for item in items.values()
            ]
    write_jsonl(args.out, rows)


if __name__ == "__main__":
    run(main, parser())
