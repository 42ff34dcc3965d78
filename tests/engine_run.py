"""The `openai` engine as a program of its own, for tests that kill it.

    python tests/engine_run.py LOG COUNT

Asks COUNT questions of the model `teacher-1` and prints the answers; TEACHER_* say how.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stages.cli import make_parser, run
from stages.models.card import ServedCard
from stages.models.chat import Conversation, Sampling
from stages.models.openai_engine import OpenAIModel, Policy
from stages.records import Message

ROOT = Path(__file__).parents[1]
KEY = "sk-test-0123456789abcdef"
CARD = ServedCard(
    name="teacher-1",
    base_url="http://127.0.0.1:9/v1",
    env="TEACHER",
    needs_key=True,
    accept="teacher-1",
    token_limit="max_tokens",
    extra_sampling=False,
)
GREEDY = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=50)
QUICK = Policy(
    deadline=5, retries=3, first_wait=0.01, longest_wait=0.05, longest_pause=2, breaker=4
)


def questions(count: int, start: int = 0) -> list[Conversation]:
    """Return different conversations of the stage `q`."""
    return [
        Conversation(f"q/{n}", (Message(role="user", content=f"Question {n}: (A) or (B)?"),), 0)
        for n in range(start, start + count)
    ]


def start(url: str, log: Path, count: int, **env: str) -> "subprocess.Popen[str]":
    """Start the program against a server."""
    return subprocess.Popen(
        [sys.executable, __file__, str(log), str(count)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TEACHER_API_KEY": KEY,
            "TEACHER_BASE_URL": url,
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail after 20 seconds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def main(args: argparse.Namespace) -> None:
    """Ask and print."""
    model = OpenAIModel(CARD, args.log, os.environ, QUICK)
    for answer in model.generate(questions(args.count), GREEDY):
        print(answer.model_dump_json())


if __name__ == "__main__":
    # A shell ignores SIGINT in what it runs in the background, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = make_parser("engine_run", __doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("count", type=int)
    run(main, parser)
