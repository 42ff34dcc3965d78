r"""Report: everything that a reader opens, out of scored trajectories, beside the paper's figures.

    python -m stages.report --params params.yaml --scores data/score --tasks data/tasks \
        --feedback 'data/feedback/bbh/{condition}-{student}-{seed}.jsonl' \
        --judgements 'data/judge/bbh/{verdict}-{student}-{seed}.jsonl' \
        --selections 'data/select/bbh/{pool}/{selector}-{student}-{seed}.jsonl' \
        --training 'data/train/bbh/{learner}-{method}-{seed}.jsonl' \
        --log 'data/train/bbh/{learner}-{method}-{seed}.csv' \
        --dropped 'data/dropped/bbh/{learner}-{method}-{seed}.jsonl' \
        --environments stages/tasks/environments --games-facts data/facts/score/games \
        --games-feedback 'data/feedback/games/{condition}-{student}-{seed}.jsonl' \
        --games-judgements 'data/judge/games/{verdict}-{student}-{seed}.jsonl' \
        --games-training 'data/train/games/{learner}-{method}-{seed}.jsonl' \
        --games-dropped 'data/dropped/games/{learner}-{method}-{seed}.jsonl' \
        --trajectories 'data/{step}/{suite}/{cell}.jsonl' \
        --facts 'data/facts/{step}/{suite}/{cell}.json' \
        --presets stages/training/presets.yaml --paper data/paper --prompts prompts \
        --tables reports/tables --figures reports/figures --metrics reports/metrics.json \
        --numbers reports/numbers.tex --document reports/report.tex \
        --page reports/index.html --differ reports/differ.html --explorer reports/explorer

Tables, as CSV and LaTeX, plain and with the paper's figures beside ours: 1 (training techniques), 2
(error identification, 5.1.1), 3 (feedback conditions, 5.1.2), 4 (modifications, 5.2), 5
(finetuning, 5.3); where the scale has a suite of games and code also 6 (finetuning on it, 5.3), 7
(the games, Appendix C) and 8 (all models, Appendix D.1). Tables that the paper does not have:
`controls`, `transitions`, `cleaning`, `outcomes` (how all requests ended), `games_retry`,
`forgetting`, `sensitivity` (to the wording of prompts), `facts` (time and tokens), `points` (cost
per point gained), `claims` (what the paper says, checked) and `inconsistencies` (what its figures
say of each other). Every rate stands with its 95 % interval; `stages.stats` says how intervals and
tests are made. Figures 1 to 3 are LaTeX, the others PDF and PNG. `--numbers` is a macro for every
number, `--document` an article of all of it; `--page` is the same to read in a browser, `--differ`
why other numbers than these may come out, `--explorer` every trajectory. What needs a flag that is
not given is left out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.cli import make_parser, run
from stages.errors import UserError
from stages.files import write_json, write_text
from stages.reporting.settings import PARAMS as PARAMS
from stages.reporting.settings import read_settings

if TYPE_CHECKING:
    from stages.reporting.built import Built
    from stages.reporting.claims import Claims
    from stages.reporting.tables import Builder


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
    parser.add_argument("--judgements", required=True, help="file pattern over judge's axes")
    parser.add_argument("--selections", required=True, help="file pattern over select's axes")
    parser.add_argument("--training", required=True, help="file pattern over train's axes")
    parser.add_argument("--log", required=True, help="the same, of its CSV")
    parser.add_argument("--dropped", required=True, help="file pattern over train's axes")
    parser.add_argument("--environments", type=Path, help="folder of the environments")
    parser.add_argument("--games-facts", type=Path, help="folder with <step>.json of --scores")
    parser.add_argument("--games-feedback", help="as --feedback, of games and code")
    parser.add_argument("--games-judgements", help="as --judgements, of games and code")
    parser.add_argument("--games-training", help="as --training, of games and code")
    parser.add_argument("--games-dropped", help="as --dropped, of games and code")
    parser.add_argument("--trajectories", help="file pattern over step, suite and cell")
    parser.add_argument("--facts", help="the same, of run facts")
    parser.add_argument("--presets", type=Path, required=True, help="presets of training (YAML)")
    parser.add_argument("--paper", type=Path, required=True, help="folder with the paper's figures")
    parser.add_argument("--prompts", type=Path, help="folder of the prompts, for Figure 2")
    # What is written.
    parser.add_argument("--tables", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--figures", type=Path, required=True, help="folder for the figures")
    parser.add_argument("--metrics", type=Path, required=True, help="file for headline figures")
    parser.add_argument("--numbers", type=Path, help="LaTeX file with a macro for every number")
    parser.add_argument("--document", type=Path, help="LaTeX article of all tables and figures")
    parser.add_argument("--page", type=Path, help="HTML page of the same")
    parser.add_argument("--differ", type=Path, help="HTML page: why numbers may differ")
    parser.add_argument("--explorer", type=Path, help="folder for the pages of all trajectories")
    return parser


class _Report:
    """One run of the stage."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._own = read_settings(args.params)
        for needed, wanted in (
            *(("facts", "page"), ("differ", "page"), ("page", "differ")),
            *(("trajectories", "explorer"), ("prompts", "document"), ("numbers", "document")),
        ):
            if getattr(args, wanted) is not None and getattr(args, needed) is None:
                raise UserError(f"--{wanted} needs --{needed}")

    def write(self) -> None:
        """Build everything, then write it: a mistake leaves nothing half new."""
        from stages.reporting import claims, gallery, headline
        from stages.reporting.tables import Builder

        args, own = self._args, self._own
        builder = Builder(args, own)
        built = builder.build()
        checked = claims.build(built, args.paper)
        texts = {**builder.texts, **self._claims(checked)}
        texts |= self._extra(builder, built, checked, list(texts))
        if args.explorer is not None:
            self._explore()  # whole or not at all
        for path, text in texts.items():
            write_text(path, text)
        gallery.draw_all(built, args.figures)
        write_json(args.metrics, headline.build(built, claims.headline(checked)["ours"]))

    def _claims(self, checked: "Claims") -> dict[Path, str]:
        """Return the tables of claims."""
        from stages.reporting import claims

        about = {"scale": self._own.scale, "draws": self._own.report.bootstrap}
        names = {
            "claims.csv": claims.to_csv(checked.ours),
            "claims_paper.csv": claims.to_csv(checked.printed),
            "claims.tex": claims.to_tex(checked, about),
            "inconsistencies.csv": claims.to_csv(checked.inconsistencies),
            "inconsistencies.tex": claims.inconsistencies_to_tex(checked),
        }
        return {self._args.tables / name: text for name, text in names.items()}

    def _extra(
        self,
        builder: "Builder",
        built: "Built",
        checked: "Claims",
        others: Sequence[Path],
    ) -> dict[Path, str]:
        """Return what is made of all tables: sensitivity, facts, LaTeX figures, macros, pages.

        `others` are the files that are written beside these, for the page to link to.
        """
        from stages.reporting import (
            claims,
            document,
            facts,
            figure1,
            figure2,
            gallery,
            numbers,
            plain,
            points,
            sensitivity,
            table1,
        )
        from stages.reporting.page import pages

        args, own, tables = self._args, self._own, self._args.tables
        counts = claims.headline(checked)
        texts = {tables / f"{name}.tex": text for name, text in plain.build(built).items()}
        texts[tables / "table1_beside.tex"] = table1.beside(built)
        more: list[str] = []
        trials = spent = costs = None
        if args.trajectories is not None:
            games = None if built.games is None else built.games.results
            trials = sensitivity.build(builder.reader.trials(built.results, games), own.report)
            texts[tables / "sensitivity.csv"] = sensitivity.to_csv(trials)
            about = {**builder.about(built.results), "seeds": own.paraphrased.seeds}
            texts[tables / "sensitivity.tex"] = sensitivity.to_tex(trials, about)
            more.append("sensitivity")
        if args.facts is not None:
            spent = builder.reader.facts()
            costs = points.build(built, spent, own.lessons[own.suite], own.methods, own.selectors)
            texts[tables / "facts.csv"] = facts.to_csv(spent.by_step)
            texts[tables / "facts.tex"] = facts.to_tex(spent, own.scale)
            texts[tables / "points.csv"] = points.to_csv(costs)
            texts[tables / "points.tex"] = points.to_tex(costs, own.scale, len(own.grid.draws))
            more += ["points", "facts"]
        example = builder.reader.example() if args.trajectories is not None else None
        if example is not None:
            texts[tables / "figure1.tex"] = figure1.to_tex(example, own.labels, own.scale)
        if args.prompts is not None:
            prompts = [
                path for step in figure2.STEPS for path in (args.prompts / step).glob("*.jinja")
            ]
            texts[tables / "figure2.tex"] = figure2.to_tex(prompts)
        if args.numbers is not None:
            texts[args.numbers] = numbers.build(built, counts)
        if args.document is not None:
            texts[args.document] = document.build(
                built,
                [document.Figure(d.slug, d.title, d.caption(built)) for d in gallery.FIGURES],
                numbers.values(built, counts),
                example=example is not None,
                claims=("claims", "inconsistencies"),
                more=more,
            )
        if args.page is not None and args.differ is not None:
            root = args.page.parent
            written = [*others, *texts, args.metrics]
            found = pages.build(
                built,
                figures=[pages.Figure(d.slug, d.title, d.caption(built)) for d in gallery.FIGURES],
                claims=checked,
                facts=spent,
                points=costs,
                sensitivity=trials,
                files=sorted(path.relative_to(root).as_posix() for path in written),
            )
            texts |= {args.page: found["index.html"], args.differ: found["differ.html"]}
        return texts

    def _explore(self) -> None:
        """Write the explorer."""
        from stages.reporting import explorer, explorer_cells

        args, own = self._args, self._own
        suites = explorer_cells.suites_of(
            own.declared(), args.trajectories, args.tasks, args.scores
        )
        explorer.write(args.explorer, suites, own.labels, own.scale, own.report.seed)


def main(args: argparse.Namespace) -> None:
    """Read every declared cell, build all that is asked for, and write it."""
    _Report(args).write()


if __name__ == "__main__":
    run(main, parser())
