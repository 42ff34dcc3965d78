"""MBPP's own solutions of its test split score 1.0 in the sandbox, and how long that takes.

Reads mbpp/mbpp.jsonl under DATA_MIRROR, since no text of a benchmark is in git. Not covered: other
benchmarks, and the solutions of a model.
"""

import json
import os
import time
from pathlib import Path

import pytest
from sandbox_house import BACKENDS, opened

from stages.tasks.sandbox import Job, Limits

TEST_SPLIT = range(11, 511)


def references() -> dict[int, Job]:
    folder = os.environ.get("DATA_MIRROR")
    file = Path(folder or "") / "mbpp" / "mbpp.jsonl"
    if not folder or not file.is_file():
        pytest.skip("MBPP is not here: set DATA_MIRROR to a folder that has mbpp/mbpp.jsonl")
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {
        row["task_id"]: Job(
            row["code"], "", row["test_setup_code"], tuple(row["test_list"]), entry=""
        )
        for row in rows
        if row["task_id"] in TEST_SPLIT
    }


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_references_score_one(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = references()
    assert len(jobs) == 500
    with opened(backend, Limits()) as sandbox:
        started = time.monotonic()
        reports = sandbox.run(list(jobs.values()))
        seconds = time.monotonic() - started
    with capsys.disabled():
        print(f"\n{backend}: {len(jobs)} references in {seconds:.1f} s")
    failed = {
        number: report.statuses
        for number, report in zip(jobs, reports, strict=True)
        if set(report.statuses) != {"passed"}
    }
    assert failed == {}
