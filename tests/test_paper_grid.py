"""scales/paper.yaml, really run to its last table, on stand-ins for what needs a GPU or a key.

Overridden: the students' weights (a local tiny Qwen2 each), the teacher's address (the scripted
server), the item limits (1 and 2 a subtask), the length of the students' replies, most of which
have no end and are kept for training, and how long they are trained. Everything else is the
paper's: the release's bytes out of the mirror, all conditions and methods, adapters saved alone; of
the three seeds one, of the students two, of whom one is trained, two candidates, and one other
wording of the prompts, since more are the same cells again, and one model a method for all
subtasks. Of the games those that need no file and MBPP out of the mirror; the others want
BIG-bench's archive (test_prepare_games.py). Not covered: real weights, long replies, the real
APIs, 4 bit.
"""

import csv
import re
import shutil
from pathlib import Path

import pytest
from clone import Clone
from scripted_teacher import ScriptedTeacher

pytestmark = pytest.mark.slow

# In parts, so that the copy of this file does not hold it.
KEY = "-".join(("sk", "not-a-real-key", "for-tests-only"))


@pytest.mark.timeout(2700)
def test_paper_grid(tmp_path: Path, mirror: Path) -> None:
    with ScriptedTeacher() as teacher:
        clone = Clone(
            tmp_path / "clone",
            OPENAI_BASE_URL=teacher.url,
            OPENAI_API_KEY=KEY,
            OPENROUTER_BASE_URL=teacher.url,
            OPENROUTER_API_KEY=KEY,
            DATA_MIRROR=str(mirror.resolve()),
        )
        params = clone.root / "params.yaml"
        shutil.copy(clone.root / "scales" / "paper.yaml", params)
        seeds = iter(range(9))
        text = re.sub(
            r"\{kind: hub, [^}]*\}",
            lambda match: f"{{kind: tiny, seed: {next(seeds)}}}",
            params.read_text(),
        )
        params.write_text(text)
        clone.edit("params.yaml", "test: null", "test: 2")
        clone.edit("params.yaml", "train: null", "train: 1")
        text = params.read_text()
        for name in ("spelling", "taboo", "list_functions"):
            text, found = re.subn(rf"\n        {name}:.*(?:\n          .*)+", "", text)
            assert found == 1, name
        # One instance of each environment on either side.
        text = re.sub(r"(?<=[ {])(train|test): (?:50|100|500)\b", r"\1: 1", text)
        params.write_text(text)
        for axis, some in (
            ("students", "qwen2_7b, qwen2_05b"),
            *(("learners", "qwen2_05b"), ("tuned", "qwen2_05b")),
        ):
            every = f"{axis}: [qwen2_7b, qwen2_15b, qwen2_05b]"
            clone.edit("params.yaml", every, f"{axis}: [{some}]")
        clone.edit("params.yaml", "models: per_environment", "models: joint")
        clone.edit("params.yaml", "keep_truncated: false", "keep_truncated: true")
        clone.edit("params.yaml", "num_train_epochs: 3", "max_steps: 2, warmup_steps: 0")
        # One seed of the three: the others are the same cells again.
        clone.edit("params.yaml", "seeds: [0, 1, 2]", "seeds: [0]")
        clone.edit("params.yaml", "draws: [0, 1, 2, 3]", "draws: [0, 1]")
        # One other wording of two.
        clone.edit("params.yaml", "wordings: [p1, p2]", "wordings: [p1]")
        # Noise seldom ends: 1024 tokens would take the test an hour.
        clone.edit("params.yaml", "1024  # not stated; shorter", "48  # not stated; shorter")
        clone.commit("Paper scale on stand-ins")
        listed = clone.run("dvc", "stage", "list", "--name-only").split()
        assert clone.repro() == set(listed)
        # The teacher answers each item once; for each student it gives feedback under four
        # conditions, two verdicts, and chooses among the candidates of two pools.
        asked = 27 * 2 * (1 + (4 + 2 + 2) * 2)
        # On the train items it answers once; for the student that learns: verdict, feedback,
        # cleaning, feedback to follow and a retry. Then feedback on what two tuned models say.
        asked += 27 * (1 + 5) + 27 * 2 * 2
        # Five environments, Hi-Lo of up to seven turns. At test time the teacher plays, and judges
        # and gives feedback to two students; on the train items it plays, judges, gives feedback,
        # cleans, and gives feedback to follow and plays in the student's place.
        games, turns = 5, 4 + 7
        asked += turns + 2 * 2 * games + 3 * turns + 3 * games
        # In other words, for each student: two verdicts, feedback under four conditions, a choice;
        # and cleaning for who learns. For Figure 1 it describes eight cards, guesses what it
        # described, and gives feedback.
        asked += 27 * 2 * 2 * (2 + 4 + 1) + 27 + 3 * 8
        # Two other teachers answer, play, and give feedback to one student.
        asked += 2 * (27 * 2 + turns + 27 * 2)
        assert len(teacher.requests) <= asked
        assert {request.body["model"] for request in teacher.requests} == {
            *("gpt-4o-mini-2024-07-18", "anthropic/claude-3-haiku", "google/gemini-flash-1.5"),
        }
        assert all("top_k" not in request.body for request in teacher.requests)
        assert {request.authorization for request in teacher.requests} == {f"Bearer {KEY}"}
    # The key is in no record, no log, no file of DVC or git.
    holders = [path for path in clone.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(holders) > 500
    assert not [path for path in holders if KEY.encode() in path.read_bytes()]
    with (clone.root / "reports" / "tables" / "table5.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    with (clone.root / "reports" / "tables" / "table3.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["items"] == "all"]
    assert len(rows) == 2 * 6
    assert {row["n"] for row in rows} == {"54"}
    assert {row["seeds"] for row in rows} == {"1"}
    assert {row["match_rate_paper"] for row in rows} >= {"0.60", "0.89", "0.26"}
    with (clone.root / "reports" / "tables" / "table6.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["environment"] for row in rows} >= {"hilo", "nash", "mbpp"}
    with (clone.root / "reports" / "tables" / "table8.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 + 2
