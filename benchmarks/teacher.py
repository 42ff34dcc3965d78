r"""The `openai` engine with its durable call log beside a bare loop over the SDK.

    python benchmarks/teacher.py [--calls 5000] [--workers 64] [--delay 0.1] [--rounds 3]

Both ask a local server, in a process of its own, that answers every call after `--delay` seconds.
The bare loop keeps nothing; ours has every answer on the disk before it is used. They run in turn,
and the ratio is the median of the ratios within a round.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.models.card import ServedCard
from stages.models.chat import Conversation, Sampling
from stages.models.openai_engine import OpenAIModel
from stages.records import Message

SAMPLING = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=64)
BODY = (
    b'{"id":"x","object":"chat.completion","created":0,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Look at the second step again."},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":7,"total_tokens":16}}'
)


def serve(ports: "Queue[int]", delay: float) -> None:
    """Answer HTTP/1.1 requests with one body, each after `delay` seconds, on a free port."""
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in request.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                await asyncio.sleep(delay)
                writer.write(head.encode() + BODY)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    asyncio.run(run())


def bare(url: str, conversations: list[Conversation], workers: int) -> None:
    """Ask with the SDK alone: as many workers, no log, no retries."""
    from httpx2 import Limits
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    async def run() -> None:
        http: Any = DefaultAsyncHttpxClient(limits=Limits(max_connections=workers))
        queue = iter(conversations)
        async with AsyncOpenAI(
            api_key="none", base_url=url, max_retries=0, http_client=http
        ) as client:

            async def work() -> None:
                for conversation in queue:
                    messages: Any = [m.model_dump() for m in conversation.messages]
                    reply = await client.chat.completions.create(
                        model="m", messages=messages, temperature=0, max_tokens=64
                    )
                    assert reply.choices[0].message.content

            await asyncio.gather(*(work() for _ in range(workers)))

    asyncio.run(run())


def ours(url: str, conversations: list[Conversation], workers: int, log: Path) -> None:
    """Ask with the engine, on an empty log."""
    card = ServedCard(
        name="m",
        base_url=url,
        env="BENCH",
        needs_key=False,
        accept="m",
        token_limit="max_tokens",
        extra_sampling=False,
    )
    model = OpenAIModel(card, log, {"BENCH_CONCURRENCY": str(workers)})
    replies = model.generate(conversations, SAMPLING)
    assert all(reply.finish_reason == "stop" for reply in replies)


def main() -> None:
    """Run both in turn and print their times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    import openai  # noqa: F401 - imported before the clock runs, for both

    conversations = [
        Conversation(str(n), (Message(role="user", content=f"Question {n}. " * 40),), n)
        for n in range(args.calls)
    ]
    ports: Queue[int] = Queue()
    server = Process(target=serve, args=(ports, args.delay), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ports.get()}/v1"
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for number in range(args.rounds):
            started = time.monotonic()
            bare(url, conversations, args.workers)
            middle = time.monotonic()
            ours(url, conversations, args.workers, Path(folder) / f"{number}.jsonl")
            times.append((middle - started, time.monotonic() - middle))
            print(f"bare {times[-1][0]:.1f} s, ours {times[-1][1]:.1f} s", file=sys.stderr)
    server.terminate()
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    ratio = statistics.median(own / plain for plain, own in times)
    ideal = args.calls * args.delay / args.workers
    print(
        f"{args.calls} calls of {args.delay * 1000:.0f} ms at {args.workers} workers, "
        f"{args.rounds} rounds: bare SDK {medians[0]:.1f} s, ours {medians[1]:.1f} s, "
        f"ratio {ratio:.2f}; no overhead at all would be {ideal:.1f} s"
    )


if __name__ == "__main__":
    main()
