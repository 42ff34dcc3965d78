"""vllm in process on rendered prompts, for benchmarks/generation.py (its own environment).

python benchmarks/with_vllm.py MODEL_FOLDER PROMPTS_JSON REPLIES_JSON
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Answer all prompts."""
    import torch
    from vllm import LLM, SamplingParams

    from stages.models.precision import best_dtype

    engine = LLM(
        sys.argv[1],
        dtype=best_dtype(torch.device("cpu")),
        enforce_eager=True,
        max_model_len=4096,
        gpu_memory_utilization=0.3,
    )
    prompts = json.loads(Path(sys.argv[2]).read_text())
    started = time.monotonic()
    outputs = engine.generate(
        prompts, SamplingParams(temperature=0, max_tokens=128), use_tqdm=False
    )
    seconds = time.monotonic() - started
    replies = [output.outputs[0].text for output in outputs]
    Path(sys.argv[3]).write_text(json.dumps({"replies": replies, "seconds": seconds}))


if __name__ == "__main__":
    main()
