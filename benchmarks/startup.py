r"""How long a stage takes to start, by what it needs, and to end when it has done nothing.

    python benchmarks/startup.py --model models/smollm2_135m [--runs 5]

Each is a process of its own, run as a stage is, by `stages.cli.run`. `light` parses a stage's
command line; `report` imports what the report needs, `served` what a call to a server needs;
`student` loads the weights; `training` imports TRL's trainers beside that.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUDENT = "from stages.models.open import open_model; open_model(Path({}))"
KINDS = {
    "light": "from stages import feedback; feedback.parser()",
    "report": "import stages.report, stages.reporting.table3, stages.stats, matplotlib.pyplot",
    "served": "import stages.models.batch, openai",
    "student": STUDENT,
    "training": f"{STUDENT}; from trl import DPOTrainer, SFTTrainer",
}
STAGE = """
import time
from pathlib import Path
from stages.cli import make_parser, run

def main(args):
    WORK
    print(time.monotonic())

run(main, make_parser("startup", None))
"""


def measure(work: str) -> tuple[float, float]:
    """Return the seconds from the start of a process until `work` is done, and until its end."""
    started = time.monotonic()
    command = [sys.executable, "-c", STAGE.replace("WORK", work)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1]) - started, time.monotonic() - started


def main() -> None:
    """Time all kinds in turn and print a table of medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(args.runs):
        for kind, work in KINDS.items():
            seconds[kind].append(measure(work.replace("{}", repr(str(args.model.resolve())))))
    print(f"{args.runs} rounds, medians\n")
    print("| kind | seconds until ready | until the process has ended |\n|---|---|---|")
    for kind, times in seconds.items():
        ready, ended = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"| {kind} | {ready:.2f} | {ended:.2f} |")


if __name__ == "__main__":
    main()
