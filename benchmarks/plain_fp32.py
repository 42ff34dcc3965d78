"""plain.py with float32 weights: for hardware that does not compute in bfloat16.

python benchmarks/plain_fp32.py MODEL_FOLDER PROMPTS_JSON REPLIES_JSON
"""

import runpy
from pathlib import Path
from unittest.mock import patch

import torch
from transformers import AutoModelForCausalLM

load = AutoModelForCausalLM.from_pretrained
with patch.object(
    AutoModelForCausalLM, "from_pretrained", lambda folder, **_: load(folder, dtype=torch.float32)
):
    runpy.run_path(str(Path(__file__).with_name("plain.py")), run_name="__main__")
