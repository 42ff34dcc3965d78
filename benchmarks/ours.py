"""The `transformers` engine of this project on rendered prompts, for benchmarks/generation.py.

python benchmarks/ours.py MODEL_FOLDER PROMPTS_JSON REPLIES_JSON
"""

import json
import sys
import time
from pathlib import Path
from unittest.mock import patch

from stages.models import transformers_engine
from stages.models.chat import Conversation, Sampling
from stages.models.open import open_model
from stages.records import Message

GREEDY = Sampling(temperature=0, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=128)

model = open_model(Path(sys.argv[1]))
prompts = json.loads(Path(sys.argv[2]).read_text())
asked = [
    Conversation(str(n), (Message(role="user", content=prompt),), n)
    for n, prompt in enumerate(prompts)
]
# The prompts come rendered, so that all contenders get the same text.
with patch.object(transformers_engine, "apply_template", lambda _, shown: shown[0].content):
    started = time.monotonic()
    replies = [reply.text for reply in model.generate(asked, GREEDY)]
    seconds = time.monotonic() - started
Path(sys.argv[3]).write_text(json.dumps({"replies": replies, "seconds": seconds}))
