"""A chat server for tests: it answers by a script, counts requests, and misbehaves on demand.

It also tokenizes, byte by byte, and scores tokens by a fixed rule, as a server of vllm does.

In a test:

    with ScriptedTeacher() as teacher:
        env = {"TEACHER_BASE_URL": teacher.url}

For a pipeline in other processes (stopped by SIGTERM):

    python tests/scripted_teacher.py --port-file F [--port N] [--requests-log F]

A reply is a pure function of the messages, whatever the order of the requests. It has the part of
the Batch API that hands in, lists and collects.
"""

import argparse
import hashlib
import json
import re
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal

FEEDBACK = (
    "Check the second step once more: it does not follow from the first.",
    "The approach is sound, but the last step miscounts.",
    "Read the question again and list what is given before you conclude.",
    "The reasoning is right up to the end; compare all options before choosing.",
    "You skipped one of the conditions; apply them one after another.",
)
END, END_TOKEN = "<|end|>", 256
WORDS = ("yes", "no", "true", "false", "valid", "invalid", "plausible", "implausible")


@dataclass(frozen=True)
class Fault:
    """How one request is answered otherwise than by the script.

    Attributes:
        status: HTTP status.
        headers: more headers, or others than the usual ones.
        body: raw body; None takes the ordinary reply, a function changes it.
        delay: seconds before anything is sent.
        cut: `before` resets the connection unanswered, `mid` breaks off half-way through the body,
            `silent` does so without having told the length.
        drip: seconds between single bytes of the body.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[dict[str, Any]], dict[str, Any]] | None = None
    delay: float = 0.0
    cut: Literal["before", "mid", "silent"] | None = None
    drip: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A request as it arrived: its number from 1, path, Authorization header and body."""

    number: int
    path: str
    authorization: str | None
    body: dict[str, Any]


Faults = Callable[[Asked], Fault | None]
Script = Callable[[Sequence[Mapping[str, str]]], str]


def at(**faults: Fault) -> Faults:
    """Return faults by request number: `at(n1=Fault(503), n3=..., other=...)`."""
    return lambda asked: faults.get(f"n{asked.number}", faults.get("other"))


def draw(messages: Sequence[Mapping[str, str]], count: int) -> int:
    """Return a number below `count` that depends on the messages only."""
    text = json.dumps([dict(message) for message in messages], sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % count


def scripted_reply(messages: Sequence[Mapping[str, str]]) -> str:
    """Return feedback where the last user message asks for it, else an answer.

    It asks for feedback when it shows a student's answer, or when no `Answer:` line is asked for.
    The answer is one of the options or words that the message offers, else a number. Asked to
    copy a student's answer, it leaves out what stands before "updated version:".
    """
    last = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    if "Reply with the copy and nothing else." in last:
        answer = last.partition("[Student's answer]\n")[2]
        return answer.split("updated version:")[-1].strip()
    if "Answer:" not in last or "[Student's answer]" in last:
        return FEEDBACK[draw(messages, len(FEEDBACK))]
    letters = sorted(set(re.findall(r"\([A-Z]\)", last)))
    words = [word for word in WORDS if re.search(rf"\b{word}\b", last, re.IGNORECASE)]
    choices = letters or words or [str(number) for number in range(10)]
    choice = choices[draw(messages, len(choices))]
    return f"The question offers {len(choices)} answers. I compare them.\nAnswer: {choice}"


def completion(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the response of the chat protocol that carries `text`."""
    prompt = sum(len(message["content"].split()) for message in body["messages"])
    content = [{"token": word, "logprob": -len(word) / 8} for word in text.split()]
    return {
        "id": f"chatcmpl-{draw(body['messages'], 10**9)}",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
                **({"logprobs": {"content": content}} if body.get("logprobs") else {}),
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": len(text.split()),
            "total_tokens": prompt + len(text.split()),
        },
    }


def _part(form: bytes) -> str:
    """Return the file in a multipart form."""
    boundary = form.split(b"\r\n", 1)[0]
    part = next(part for part in form.split(boundary) if b"filename=" in part)
    return part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n").decode()


class Batches:
    """The files and batches of a server.

    Attributes:
        polls: a batch ends at this look at it.
        end: the status in which batches end.
        line: changes an answer's line, given its custom_id's place in the file; None leaves it out.
        files: contents by id.
        made: batches by id, the oldest first.
        answered: bodies of the requests that were worked on, and so billed.
    """

    def __init__(self, script: Callable[[Sequence[Mapping[str, str]]], str]) -> None:
        self.polls, self.end, self.errors = 1, "completed", "the file is not valid"
        self.line: Callable[[int, dict[str, Any]], dict[str, Any] | None] = lambda _, line: line
        self.files: dict[str, str] = {}
        self.made: dict[str, dict[str, Any]] = {}
        self.answered: list[dict[str, Any]] = []
        self._script, self._looks = script, Counter[str]()

    def answer(self, method: str, path: str, body: Mapping[str, Any]) -> bytes | None:
        """Return the body of a reply about files or batches, None where there is none."""
        kind, _, rest = path.partition("?")[0].removeprefix("/v1/").partition("/")
        query = dict(pair.split("=") for pair in path.partition("?")[2].split("&") if pair)
        reply: dict[str, Any] | None = None
        if (kind, method) == ("files", "POST"):
            reply = {"id": f"file-{len(self.files)}", "object": "file"}
            self.files[reply["id"]] = body["file"]
        elif (kind, method) == ("files", "GET"):
            content = self.files.get(rest.removesuffix("/content"))
            return None if content is None else content.encode()
        elif (kind, method) == ("batches", "POST"):
            reply = {**body, "id": f"batch_{len(self.made)}", "status": "validating"}
            self.made[reply["id"]] = reply
        elif kind == "batches" and rest:
            reply = self.made.get(rest)
            if reply is not None:
                self._look(reply)
        elif kind == "batches":
            names = list(self.made)[::-1]
            first = names.index(query["after"]) + 1 if "after" in query else 0
            page = names[first : first + 2]
            data = [self.made[name] for name in page]
            reply = {"object": "list", "data": data, "has_more": names[-1:] != page[-1:]}
        return None if reply is None else json.dumps(reply).encode()

    def _look(self, batch: dict[str, Any]) -> None:
        self._looks[batch["id"]] += 1
        if batch["status"] not in ("validating", "in_progress"):
            return
        batch["status"] = self.end if self._looks[batch["id"]] >= self.polls else "in_progress"
        if batch["status"] == "failed":
            batch["errors"] = {"data": [{"code": "bad", "message": self.errors}]}
        elif batch["status"] != "in_progress":
            outputs: dict[str, list[str]] = {"output_file_id": [], "error_file_id": []}
            for place, text in enumerate(self.files[batch["input_file_id"]].splitlines()):
                asked = json.loads(text)
                reply = completion(asked["body"], self._script(asked["body"]["messages"]))
                response = {"status_code": 200, "request_id": f"r{place}", "body": reply}
                whole = {"custom_id": asked["custom_id"], "response": response, "error": None}
                line = self.line(place, whole)
                if line is None:
                    continue
                status = (line["response"] or {}).get("status_code")
                if status == 200:
                    self.answered.append(asked["body"])
                name = "output_file_id" if status == 200 else "error_file_id"
                outputs[name].append(json.dumps(line))
            for name, lines in outputs.items():
                if lines:
                    batch[name] = f"file-{len(self.files)}"
                    # Answers come in any order.
                    self.files[batch[name]] = "\n".join(reversed(lines)) + "\n"


def tokens_of(text: str) -> list[int]:
    """Return the bytes of `text`, with each END as one token."""
    tokens: list[int] = []
    for number, part in enumerate(text.split(END)):
        tokens += ([END_TOKEN] if number else []) + list(part.encode())
    return tokens


def prompt_of(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the messages with this server's chat template applied, up to the reply."""
    turns = (f"[{message['role']}]{message['content']}{END}" for message in messages)
    return "".join([*turns, "[assistant]"])


def logprob_of(position: int, token: int) -> float:
    """Return the log-prob of a token at a position of a sequence: a rule, for want of a model."""
    return -(1 + position % 5 + token % 7) / 8


def scores(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of /v1/completions to a prompt of tokens."""
    places = [
        {str(token): {"logprob": logprob_of(position, token), "rank": 1}}
        for position, token in enumerate(body["prompt"])
    ]
    return {
        "object": "text_completion",
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "text": "x",
                "finish_reason": "length",
                "prompt_logprobs": [None, *places[1:]],
            }
        ],
        "usage": {"prompt_tokens": len(places), "completion_tokens": 1},
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    teacher: "ScriptedTeacher"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that went away; report anything else."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", 0))
        raw = self.rfile.read(length)
        if len(raw) < length:
            # The client was killed while it sent: nobody was asked.
            self.close_connection = True
            return
        teacher = self.server.teacher
        # What comes as a form is a file.
        form = "form-data" in self.headers.get("content-type", "")
        told = {"file": _part(raw)} if form else json.loads(raw or b"{}")
        asked = teacher._note(self.path, self.headers.get("authorization"), told)
        fault = teacher.faults(asked) or Fault()
        spread = teacher.spread * draw(asked.body.get("messages", []), 1000) / 1000
        time.sleep(fault.delay + spread)
        if fault.cut == "before":
            # Linger 0: the client sees a reset.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        if isinstance(fault.body, bytes):
            body = fault.body
        elif (reply := teacher.reply(asked)) is not None:
            body = json.dumps(fault.body(reply) if fault.body else reply).encode()
        elif fault.status != 200:
            body = b'{"error": {"message": "scripted"}}'
        else:
            found = teacher.batches.answer(self.command, self.path, asked.body)
            body = found or b'{"error": {"message": "no such path"}}'
            fault = fault if found is not None else Fault(404)
        self._answer(fault, body)
        with teacher._lock:
            teacher.answered += 1

    def _answer(self, fault: Fault, body: bytes) -> None:
        headers = {"content-type": "application/json", "x-request-id": "scripted"}
        if fault.cut != "silent":
            headers["content-length"] = str(len(body))
        if fault.cut:
            headers["connection"] = "close"
            self.close_connection = True
            body = body[: len(body) // 2]
        self.send_response(fault.status)
        for name, value in {**headers, **fault.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault.drip:
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(fault.drip)
        else:
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Write no access log."""


class ScriptedTeacher:
    """The server, on a free port of 127.0.0.1 unless told otherwise.

    Args:
        faults: called with every request; what it returns is done instead of an ordinary answer.
        script: the reply to messages.
        spread: answers are delayed by up to so many seconds, each by its own content, so that they
            come out of order.
        port: 0 takes a free one.
        requests_log: a file that gets the body of every request as a line.

    Attributes:
        requests: all requests so far.
        batches: the state of the Batch API.
        answered: how many were answered in full.
    """

    def __init__(
        self,
        faults: Faults = lambda asked: None,
        script: Script = scripted_reply,
        spread: float = 0.0,
        port: int = 0,
        requests_log: Path | None = None,
    ) -> None:
        self.faults = faults
        self.script = script
        self.spread = spread
        self.requests: list[Asked] = []
        self.answered = 0
        self.batches = Batches(script)
        self._lock = threading.Lock()
        self._requests_log = requests_log
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.teacher = self

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "ScriptedTeacher":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, asked: Asked) -> dict[str, Any] | None:
        """Return the ordinary reply to a request, None where there is no such path."""
        body = asked.body
        match asked.path:
            case "/v1/chat/completions":
                return completion(body, self.script(body["messages"]))
            case "/v1/completions":
                return scores(body)
            case "/tokenize":
                text = prompt_of(body["messages"]) if "messages" in body else body["prompt"]
                return {"count": len(tokens_of(text)), "tokens": tokens_of(text)}
        return None

    def _note(self, path: str, authorization: str | None, body: dict[str, Any]) -> Asked:
        with self._lock:
            asked = Asked(len(self.requests) + 1, path, authorization, body)
            self.requests.append(asked)
            if self._requests_log is not None:
                with self._requests_log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({"number": asked.number, "body": body}) + "\n")
        return asked


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; the port is in the port file once the server listens."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--requests-log", type=Path)
    args = parser.parse_args()
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    with ScriptedTeacher(port=args.port, requests_log=args.requests_log) as teacher:
        temporary = args.port_file.with_name(args.port_file.name + ".tmp")
        temporary.write_text(f"{teacher.port}\n", encoding="utf-8")
        temporary.replace(args.port_file)
        stop.wait()


if __name__ == "__main__":
    main()
