r"""Report: the tables of the paper out of the scored trajectories, beside the paper's own figures.

    python -m stages.report --params params.yaml --scores data/score --tasks data/tasks \
        --feedback 'data/feedback/bbh/{condition}-{student}-{seed}.jsonl' --paper data/paper \
        --out reports/tables --metrics reports/metrics.json

Writes Table 3 (section 5.1.2) as `table3.csv` and `table3.tex`, its rates a subtask beside the
floors as `table3_by_subtask.csv`, and how all requests ended as `outcomes.csv` and `outcomes.tex`.
Every rate stands with its 95 % interval; `stages.stats` says how intervals and tests are made.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from stages.cli import make_parser, run
from stages.conditions import Condition
from stages.files import write_json, write_text
from stages.grid import Grid, cell_path
from stages.params import Params
from stages.reporting.config import ReportSection

PARAMS = ("scale", "students", "teachers", "conditions", "grid", "report")

SUITE = "bbh"


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.report", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params.yaml")
    parser.add_argument(
        "--scores", type=Path, required=True, help="folder with <suite>/<step>.jsonl"
    )
    parser.add_argument(
        "--tasks", type=Path, required=True, help="folder with <suite>/{train,test}.jsonl"
    )
    parser.add_argument("--feedback", required=True, help="file pattern over feedback's axes")
    parser.add_argument("--paper", type=Path, required=True, help="folder with the paper's figures")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--metrics", type=Path, required=True, help="file for headline figures")
    return parser


def main(args: argparse.Namespace) -> None:
    """Read scores of every cell of the grid, build the tables, write them."""
    params = Params(args.params, PARAMS)
    scale = params.get("scale", str)
    students = list(params.get("students", dict[str, Any]))
    teachers = list(params.get("teachers", dict[str, Any]))
    conditions = params.get("conditions", dict[str, Condition])
    grid = params.get("grid", Grid)
    config = params.get("report", ReportSection)

    import pandas as pd

    from stages.errors import UserError
    from stages.records import Score, read_jsonl
    from stages.reporting import load, outcomes, table3

    unknown = [slug for slug in grid.conditions if slug not in conditions]
    if unknown:
        raise UserError(f"{args.params}: grid: no condition {unknown[0]!r} under conditions")
    tasks, folder = args.tasks / SUITE, args.scores / SUITE
    items = load.read_items(tasks / "test.jsonl", tasks / "train.jsonl")
    rows = [
        load.read_scores(folder / "respond.jsonl", items, students, [None], grid.seeds),
        load.read_scores(folder / "revise.jsonl", items, students, grid.conditions, grid.seeds),
    ]
    scores = pd.concat(rows, ignore_index=True)
    table = table3.build(
        scores,
        items,
        load.read_paper(args.paper / "table3.csv"),
        students,
        grid.conditions,
        {slug for slug in grid.conditions if "target" in conditions[slug].sees},
        config,
    )
    about = {
        "scale": scale,
        "teacher": config.label(grid.teacher),
        "subtasks": items["task"].nunique(),
        "flagged": int(items["flagged"].sum()),
        "seeds": grid.seeds,
        "draws": config.bootstrap,
        "paper_students": {
            config.label(slug): config.paper_students[slug]
            for slug in students
            if slug in config.paper_students
        },
        "chance": float(items["chance"].mean()),
        "majority": float(items["majority"].mean()),
    }
    cells = product((*grid.asked, *grid.compared), students, grid.seeds)
    said = [
        record
        for condition, student, seed in cells
        for record in load.read_feedback(
            cell_path(
                "--feedback",
                args.feedback,
                {"condition": condition, "student": student, "seed": seed},
            ),
            items,
        )
    ]
    ends = outcomes.build(
        [
            outcomes.of_scores(read_jsonl(folder / "respond.jsonl", Score)),
            outcomes.of_scores(read_jsonl(folder / "answer.jsonl", Score)),
            outcomes.of_feedback(said),
            outcomes.of_scores(read_jsonl(folder / "revise.jsonl", Score)),
        ]
    )
    write_text(args.out / "table3.csv", table3.to_csv(table))
    subtasks = table3.by_subtask(scores, items).round(6)
    write_text(
        args.out / "table3_by_subtask.csv", subtasks.to_csv(index=False, lineterminator="\n")
    )
    write_text(args.out / "table3.tex", table3.to_tex(table, about))
    labels = {slug: config.label(slug) for slug in (*students, *teachers, *grid.conditions)}
    write_text(args.out / "outcomes.csv", ends.to_csv(index=False, lineterminator="\n"))
    write_text(args.out / "outcomes.tex", outcomes.to_tex(ends, labels, scale))
    write_json(args.metrics, {"table3": table3.headline(table)})


if __name__ == "__main__":
    run(main, parser())
