r"""The positive control: learning from feedback that tells the answer must show on the test items.

    python benchmarks/positive_control.py --folder FOLDER [--seeds 0 1 2] [--train 8] [--test 8] \
        [--steps 80] [--rate 1e-4]

Feedback SFT (paper, section 5.3) on trajectories whose feedback is `lazy`, "directly being told the
correct answer": if the pipeline learns at all, match rate or score must rise over the baseline.
Runs the cells of the laptop scale that this needs, with more items and steps, in a copy of the
committed state under FOLDER, and compares item by item: exact McNemar, a line for each seed. Exits
with 1 unless one of both rises with p < .05 in every seed. What the models know is not changed by
this: it shows that training, evaluation and their order work.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stages.records import Item, Trajectory, read_jsonl  # noqa: E402
from stages.stats import mcnemar  # noqa: E402
from stages.tasks.extraction import load_rules  # noqa: E402

LEARNER = "smollm2_135m"
METHOD = "feedback_sft"


def grades(folder: Path, name: str) -> dict[str, "np.ndarray"]:
    """Return what each test item got in a file of trajectories: matched and solved, 0 or 1."""
    items = {item.id: item for item in read_jsonl(folder / "data/tasks/bbh/test.jsonl", Item)}
    taus = {tau.item: tau for tau in read_jsonl(folder / name, Trajectory, "item")}
    rules = load_rules(folder / "stages/tasks/extraction.yaml")
    found = [rules.grade(items[key], taus[key].last.text) for key in items]
    return {
        "match rate": np.array([float(g.outcome in ("correct", "incorrect")) for g in found]),
        "score": np.array([float(g.solved) for g in found]),
    }


def main() -> None:
    """Run the cells and print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where to work; kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=8, help="train items of each subtask")
    parser.add_argument("--test", type=int, default=8, help="test items of each subtask")
    parser.add_argument("--steps", type=int, default=80, help="training steps")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate")
    args = parser.parse_args()
    folder = args.folder.resolve()
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        # What is fetched is the same; DVC's cache has it where the checkout was run.
        cache = ["dvc", "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")]
        subprocess.run(cache, cwd=folder, check=True)
    changed = {
        "grid.seeds": str(args.seeds),
        "suites.bbh.train": args.train,
        "suites.bbh.test": args.test,
        "lessons.bbh.condition": "lazy",
        "trainers.sft.args.max_steps": args.steps,
        "trainers.sft.args.learning_rate": f"{args.rate:.10f}",  # YAML takes 1e-05 for a string
    }
    # As `dvc exp run -S` does it, without an experiment's commit.
    sets = [f"-S{key}={value}" for key, value in changed.items()]
    code = (
        "import sys; from dvc.utils.serialize import modify_yaml\n"
        "import yaml\n"
        "with modify_yaml('params.yaml') as values:\n"
        "    for text in sys.argv[1:]:\n"
        "        key, value = text[2:].split('=', 1)\n"
        "        *path, last = key.split('.')\n"
        "        at = values\n"
        "        for part in path: at = at[part]\n"
        "        at[last] = yaml.safe_load(value)\n"
    )
    subprocess.run([sys.executable, "-c", code, *sets], cwd=folder, check=True)
    cells = [
        cell
        for seed in args.seeds
        for cell in (
            f"respond@bbh-{LEARNER}-{seed}",
            f"evaluate@bbh-{LEARNER}-{METHOD}-{seed}",
        )
    ]
    subprocess.run(["dvc", "repro", *cells], cwd=folder, check=True)
    shown = True
    print("\n| seed | measure | baseline | trained | n | gained | lost | p |\n" + "|---" * 8 + "|")
    for seed in args.seeds:
        before = grades(folder, f"data/respond/bbh/{LEARNER}-{seed}.jsonl")
        after = grades(folder, f"data/evaluate/bbh/{LEARNER}-{METHOD}-{seed}.jsonl")
        rose = False
        for measure, old in before.items():
            new = after[measure]
            p = mcnemar(new - old)
            rose |= bool(new.mean() > old.mean() and p < 0.05)
            gained, lost = int(((new - old) > 0).sum()), int(((new - old) < 0).sum())
            print(
                f"| {seed} | {measure} | {old.mean():.3f} | {new.mean():.3f} | {len(old)} "
                f"| {gained} | {lost} | {p:.2g} |"
            )
        shown &= rose
    sys.exit(0 if shown else 1)


if __name__ == "__main__":
    main()
