"""vllm in process on rendered prompts, for benchmarks/generation.py (its own environment).

python benchmarks/with_vllm.py MODEL_FOLDER PROMPTS_JSON REPLIES_JSON
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Answer all prompts."""
    from vllm import LLM, SamplingParams

    engine = LLM(
        sys.argv[1],
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=4096,
        gpu_memory_utilization=0.3,
    )
    prompts = json.loads(Path(sys.argv[2]).read_text())
    outputs = engine.generate(
        prompts, SamplingParams(temperature=0, max_tokens=128), use_tqdm=False
    )
    Path(sys.argv[3]).write_text(json.dumps([output.outputs[0].text for output in outputs]))


if __name__ == "__main__":
    main()
