r"""Linear layers with packed weights beside torch's own: a student's, each of both kinds in turn.

    python benchmarks/packed.py --model models/smollm2_135m [--rounds 5]

Milliseconds for all layers of a pass over some rows, the smallest of all rounds, in float32 and,
where the machine computes in it, in bfloat16. Few rows are a step of decoding, many are a prompt.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stages.models.adapters import load_weights  # noqa: E402
from stages.models.packed import PackedLinear  # noqa: E402
from stages.models.precision import best_dtype  # noqa: E402

ROWS = (1, 2, 8, 54, 300, 1500)


def milliseconds(work: Callable[[], None], rounds: int) -> float:
    """Return how long `work` takes at best, after a first time."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def measure(
    layers: list[nn.Linear], rows: int, dtype: torch.dtype, rounds: int
) -> tuple[float, float]:
    """Return the milliseconds of torch's layers and of packed ones."""
    inputs = {
        width: torch.randn(1, rows, width, dtype=dtype)
        for width in {layer.in_features for layer in layers}
    }
    packed = [PackedLinear(layer.weight, layer.bias) for layer in layers]

    def plain_pass() -> None:
        for layer in layers:
            layer(inputs[layer.in_features])

    def packed_pass() -> None:
        for layer, ours in zip(layers, packed, strict=True):
            ours(inputs[layer.in_features])

    return milliseconds(plain_pass, rounds), milliseconds(packed_pass, rounds)


@torch.inference_mode()
def main() -> None:
    """Time both kinds and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, best of {args.rounds} rounds\n")
    print("| precision | rows | torch, ms | packed, ms | ratio |\n|---|---|---|---|---|")
    for dtype in dict.fromkeys([torch.float32, best_dtype(torch.device("cpu"))]):
        model = load_weights(args.model, dtype=dtype)
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        for rows in ROWS:
            plain, ours = measure(layers, rows, dtype, args.rounds)
            name = str(dtype).removeprefix("torch.")
            print(f"| {name} | {rows} | {plain:.1f} | {ours:.1f} | {ours / plain:.2f} |")


if __name__ == "__main__":
    main()
