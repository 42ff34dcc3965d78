"""plain.py with float32 weights: for hardware that does not compute in bfloat16.

python benchmarks/plain_fp32.py MODEL_FOLDER PROMPTS_JSON REPLIES_JSON
"""

import runpy
from pathlib import Path

import torch

torch.bfloat16 = torch.float32
runpy.run_path(str(Path(__file__).with_name("plain.py")), run_name="__main__")
