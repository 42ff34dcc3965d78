"""lm-evaluation-harness's hf engine on rendered prompts, in an environment that has it.

python benchmarks/with_lm_eval.py MODEL_FOLDER PROMPTS_JSON REPLIES_JSON
"""

import json
import sys
import time
from pathlib import Path

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from stages.models.precision import best_dtype


def main() -> None:
    """Answer all prompts."""
    model = HFLM(
        pretrained=sys.argv[1], dtype=best_dtype(torch.device("cpu")), device="cpu", batch_size=16
    )
    prompts = json.loads(Path(sys.argv[2]).read_text())
    settings = {"until": ["<|im_end|>"], "max_gen_toks": 128, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (prompt, settings), number)
        for number, prompt in enumerate(prompts)
    ]
    started = time.monotonic()
    replies = model.generate_until(requests, disable_tqdm=True)
    seconds = time.monotonic() - started
    Path(sys.argv[3]).write_text(json.dumps({"replies": replies, "seconds": seconds}))


if __name__ == "__main__":
    main()
