"""The `vllm` engine in float32 on given conversations, in an environment that has vllm.

    python benchmarks/in_vllm.py MODEL_FOLDER REQUESTS_JSON RESULTS_JSON

REQUESTS_JSON: {"conversations": [{"id": ..., "messages": [...], "seed": ...}], "samplings": [...]}.
RESULTS_JSON: {"facts": ..., "replies": [...], "scores": [...]}, the latter two with a list a
sampling of completions, and of [log-prob, tokens] of their texts.
"""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.models import vllm_engine
from stages.models.card import LocalCard, read_card
from stages.models.chat import Conversation, Sampling
from stages.records import Message


def main() -> None:
    """Answer, and score the answers."""
    folder = Path(sys.argv[1])
    requests = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    conversations = [
        Conversation(
            asked["id"], tuple(Message(**message) for message in asked["messages"]), asked["seed"]
        )
        for asked in requests["conversations"]
    ]
    card = read_card(folder)
    assert isinstance(card, LocalCard)
    with patch.object(vllm_engine, "best_dtype", lambda device: torch.float32):
        model = vllm_engine.VllmModel(card, folder)
    replies, scores = [], []
    for fields in requests["samplings"]:
        answers = model.generate(conversations, Sampling(**fields))
        replies.append([answer.model_dump() for answer in answers])
        given = model.score(conversations, [answer.text for answer in answers])
        scores.append([(score.logprob, score.tokens) for score in given])
    results = {"facts": model.facts(), "replies": replies, "scores": scores}
    Path(sys.argv[3]).write_text(json.dumps(results), encoding="utf-8")


if __name__ == "__main__":
    main()
