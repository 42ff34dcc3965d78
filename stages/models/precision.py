"""Which floating-point type weights run in."""

import torch


def best_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes in it, else what is next best."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    abilities = torch.cpu.get_capabilities()
    fast = abilities.get("avx512_bf16") or abilities.get("amx_bf16") or abilities.get("bf16")
    return torch.bfloat16 if fast else torch.float32
