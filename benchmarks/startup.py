r"""How long a stage takes to start, by what it needs: whole processes that then do nothing.

    python benchmarks/startup.py --model models/smollm2_135m [--runs 5]

`light` parses a stage's command line; `report` imports what the report needs, `served` what a call
to a server needs; `student` loads the weights; `training` imports TRL's trainers beside that.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUDENT = (
    "from pathlib import Path; from stages.models.open import open_model; open_model(Path({}))"
)
KINDS = {
    "light": "from stages import feedback; feedback.parser()",
    "report": "import stages.report, stages.reporting.table3, stages.stats, matplotlib.pyplot",
    "served": "import stages.models.batch, openai",
    "student": STUDENT,
    "training": f"{STUDENT}; from trl import DPOTrainer, SFTTrainer",
}


def main() -> None:
    """Time all kinds in turn and print a table of medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {kind: [] for kind in ("python", *KINDS)}
    for _ in range(args.runs):
        for kind, times in seconds.items():
            code = KINDS.get(kind, "pass").replace("{}", repr(str(args.model.resolve())))
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
            times.append(time.monotonic() - started)
    print(f"{args.runs} rounds, medians\n\n| kind | seconds | of it Python alone |\n|---|---|---|")
    base = statistics.median(seconds["python"])
    for kind in KINDS:
        print(f"| {kind} | {statistics.median(seconds[kind]):.2f} | {base:.2f} |")


if __name__ == "__main__":
    main()
