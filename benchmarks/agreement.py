r"""Whether all engines give the same tokens the same log-probs, in float32 on one model folder.

    python benchmarks/agreement.py --model models/smollm2_135m --vllm-python PATH [--out FILE]

A dozen prompts, each with a greedy and a sampled reply by vllm in process and by a server of vllm,
which is started here. For each reply, the summed log-prob that `generate` gave it and the one that
`score` gives its text are compared with the `score` of the `transformers` engine. The two are over
the same tokens if the reply ended by itself and its text, encoded, has as many tokens as were
drawn; other replies of `generate` are left out and counted. Exit 1 where a sum differs by more than
0.01. `--vllm-python` names the interpreter of an environment with vllm.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.models import transformers_engine
from stages.models.card import LocalCard, ServedCard, read_card
from stages.models.chat import Conversation, ReplyScore, Sampling
from stages.models.openai_engine import OpenAIModel
from stages.records import Completion, Message

HERE = Path(__file__).resolve().parent
LIMIT = 1e-2
SERVED = "student"
PATIENCE = 600  # seconds that the server may take to start
QUESTIONS = (
    "Is the sky blue? Answer with one word.",
    "How many legs does a spider have? Answer with a number.",
    "Name the capital of France.",
    "Write the word 'hello' and nothing else.",
    "Which is heavier, a stone or a feather?",
    "What comes after Tuesday?",
    "Spell 'cat' backwards.",
    "Is 7 an odd number? Answer yes or no.",
    "Say good night in one short sentence.",
    "Tom is taller than Ann. Who is shorter?",
    "Write caf\u00e9, na\u00efve and \u65e5\u672c.",
    "List three colours, separated by commas.",
)
SAMPLINGS = {
    "greedy": Sampling(
        temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=64
    ),
    "sampled": Sampling(
        temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, max_new_tokens=64
    ),
}  # fmt: skip
CONVERSATIONS = [
    Conversation(f"agreement/{n}", (Message(role="user", content=question),), 1000 + n)
    for n, question in enumerate(QUESTIONS)
]


@dataclass
class Row:
    """One way to a log-prob beside the `score` of the `transformers` engine, over some replies.

    Attributes:
        way: engine and method, with the sampling.
        differences: of the summed log-prob, by reply that could be compared.
        tokens: of the same replies.
        left_out: how many replies were not over the same tokens.
    """

    way: str
    differences: list[float]
    tokens: list[int]
    left_out: int

    def __str__(self) -> str:
        pairs = list(zip(self.differences, self.tokens, strict=True))
        return (
            f"| {self.way} | {len(pairs)} | {self.left_out} | {sum(self.tokens)} |"
            f" {max((d for d, _ in pairs), default=0):.1e} |"
            f" {max((d / n for d, n in pairs), default=0):.1e} |"
        )


def compare(way: str, found: Sequence[ReplyScore | None], reference: Sequence[ReplyScore]) -> Row:
    """Compare log-probs; None, or another number of tokens, is not over the same tokens."""
    row = Row(way, [], [], 0)
    for one, other in zip(found, reference, strict=True):
        if one is None or one.tokens != other.tokens:
            row.left_out += 1
        else:
            row.differences.append(abs(one.logprob - other.logprob))
            row.tokens.append(one.tokens)
    return row


def generated(replies: Sequence[Completion]) -> list[ReplyScore | None]:
    """Return the log-prob of each reply that ended by itself."""
    return [
        ReplyScore(reply.logprob, reply.completion_tokens)
        if reply.finish_reason == "stop"
        and reply.logprob is not None
        and reply.completion_tokens is not None
        else None
        for reply in replies
    ]


def in_process(
    folder: Path, python: str, scratch: Path
) -> dict[str, list[list[dict[str, object]]]]:
    """Return the replies of vllm in a process of its own, and their scores."""
    asked = [
        {
            "id": conversation.id,
            "messages": [message.model_dump() for message in conversation.messages],
            "seed": conversation.seed,
        }
        for conversation in CONVERSATIONS
    ]
    samplings = [sampling.model_dump() for sampling in SAMPLINGS.values()]
    requests, results = scratch / "requests.json", scratch / "results.json"
    requests.write_text(json.dumps({"conversations": asked, "samplings": samplings}))
    command = [python, str(HERE / "in_vllm.py"), str(folder), str(requests), str(results)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, list[list[dict[str, object]]]] = json.loads(results.read_text())
    return found


@contextmanager
def server(folder: Path, python: str, scratch: Path) -> Iterator[str]:
    """Serve the folder by vllm on a free port; yield the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
        *("--served-model-name", SERVED, "--dtype", "float32", "--enforce-eager"),
        *("--gpu-memory-utilization", "0.3", "--host", "127.0.0.1", "--port", str(port)),
    ]
    log = scratch / "server.log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + PATIENCE
        while not healthy(port):
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"vllm does not serve:\n{log.read_text()[-3000:]}")
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def healthy(port: int) -> bool:
    """Tell whether the server answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    """Print the table; exit 1 where the engines disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--vllm-python", required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    card = read_card(args.model)
    if not isinstance(card, LocalCard):
        sys.exit(f"{args.model}: not a folder with weights")
    with patch.object(transformers_engine, "best_dtype", lambda device: torch.float32):
        reference = transformers_engine.TransformersModel(card, args.model)
    rows: list[Row] = []

    def against(
        engine: str, kind: str, replies: Sequence[Completion], scores: Sequence[ReplyScore] | None
    ) -> None:
        expected = reference.score(CONVERSATIONS, [reply.text for reply in replies])
        rows.append(compare(f"{engine} generate, {kind}", generated(replies), expected))
        if scores is not None:
            rows.append(compare(f"{engine} score, {kind}", scores, expected))

    for kind, sampling in SAMPLINGS.items():
        replies = reference.generate(CONVERSATIONS, sampling)
        # Without log-probs of its own, there is nothing to compare.
        if any(reply.logprob is not None for reply in replies):
            against("transformers", kind, replies, None)
    with tempfile.TemporaryDirectory() as scratch:
        found = in_process(args.model, args.vllm_python, Path(scratch))
        for kind, texts, scores in zip(SAMPLINGS, found["replies"], found["scores"], strict=True):
            replies = [Completion.model_validate(reply) for reply in texts]
            against("vllm", kind, replies, [ReplyScore(*score) for score in scores])  # type: ignore[arg-type]
        with server(args.model, args.vllm_python, Path(scratch)) as url:
            served = OpenAIModel(
                ServedCard(
                    name=SERVED,
                    base_url=url,
                    env="AGREEMENT",
                    needs_key=False,
                    accept=SERVED,
                    token_limit="max_tokens",
                    extra_sampling=True,
                    end_token=reference._tokenizer.eos_token,
                    logprobs=True,
                ),
                Path(scratch) / "calls.jsonl",
                {},
            )
            for kind, sampling in SAMPLINGS.items():
                replies = served.generate(CONVERSATIONS, sampling)
                given = served.score(CONVERSATIONS, [reply.text for reply in replies])
                against("served vllm", kind, replies, given)
    worst = max(difference for row in rows for difference in row.differences)
    lines = [
        f"{card.name}, {len(QUESTIONS)} prompts, float32; against the score of transformers",
        "",
        "| log-prob by | replies | left out | tokens | largest difference | the same by token |",
        "|---|---|---|---|---|---|",
        *map(str, rows),
        "",
        f"largest difference of a summed log-prob: {worst:.1e}, allowed are {LIMIT:.0e}",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
