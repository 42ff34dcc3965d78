"""Linear layers whose weights lie as oneDNN multiplies with them.

On a CPU, torch's own layer has every product rearrange its weights first, which in decoding, where
a product has few rows, takes about as long as the product. Here they are rearranged once. These are
the operators that torch's compiler uses when it freezes a model; nothing is compiled here.
"""

from typing import Any

import torch


def pack(model: torch.nn.Module) -> None:
    """Replace the linear layers of a model that only infers, where this machine has the operators.

    A layer packs its weights when it is first called; then it lets go of what it was given.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    dtypes = [torch.float32]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        dtypes.append(torch.bfloat16)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            # Not a subclass, whose forward may do more.
            if type(child) is torch.nn.Linear:
                weight = child.weight
                if weight.device.type == "cpu" and weight.dtype in dtypes:
                    setattr(parent, name, PackedLinear(weight, child.bias))


class PackedLinear(torch.nn.Module):
    """A linear layer, for inference on a CPU: input (..., in), weight (out, in), bias (out)."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self._weight: torch.Tensor | None = weight
        self._bias = bias
        self._packed: Any = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs @ weight.T + bias (..., out)."""
        if self._weight is not None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight.detach())
            self._weight = None
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            inputs, self._packed, self._bias, "none", [], ""
        )
        return output
