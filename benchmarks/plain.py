"""The plain baseline of benchmarks/generation.py: stock calls, to measure against and leave alone.

python benchmarks/plain.py MODEL_FOLDER PROMPTS_JSON REPLIES_JSON
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], padding_side="left")
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
prompts = json.loads(Path(sys.argv[2]).read_text())
replies = []
for start in range(0, len(prompts), 16):
    batch = tokenizer(prompts[start : start + 16], return_tensors="pt", padding=True)
    output = model.generate(**batch, do_sample=False, max_new_tokens=128)
    replies += tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :])
Path(sys.argv[3]).write_text(json.dumps(replies))
