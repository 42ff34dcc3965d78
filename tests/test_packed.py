"""Packed linear layers against torch's own, and which layers are packed.

Covered: float32 and, where the machine has it, bfloat16; one row and many, with and without a bias,
inputs of two and three dimensions; what is left as it is; a weight that an embedding shares. Not
covered: speed (benchmarks/), machines without oneDNN but for what is done about them.
"""

import copy

import pytest
import torch
from torch import nn

from stages.models.packed import PackedLinear, pack

torch.set_num_threads(1)

DTYPES = [torch.float32]
if torch.ops.mkldnn._is_mkldnn_bf16_supported():
    DTYPES.append(torch.bfloat16)


class Scaled(nn.Linear):
    """A layer that does more than a linear one."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 24)
        self.layers = nn.ModuleList(
            [nn.Linear(24, 40), nn.Sequential(nn.Linear(40, 24), nn.SiLU())]
        )
        self.scaled = Scaled(24, 24)
        self.head = nn.Linear(24, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(tokens)
        for layer in self.layers:
            hidden = layer(hidden)
        logits: torch.Tensor = self.head(self.scaled(hidden))
        return logits


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model().eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 100), (5,)])
@torch.inference_mode()
def test_the_same_numbers(model: Model, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    model = model.to(dtype)
    packed = copy.deepcopy(model)
    pack(packed)
    tokens = torch.randint(50, shape)
    expected = model(tokens)
    for _ in range(2):  # the first call packs
        found = packed(tokens)
        assert found.dtype == dtype and found.shape == expected.shape
        precision = 1e-5 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(found, expected, rtol=precision, atol=precision)


def test_all_linear_layers_and_nothing_else(model: Model) -> None:
    pack(model)
    kinds = {name: type(module) for name, module in model.named_modules()}
    assert {name for name, kind in kinds.items() if kind is PackedLinear} == {
        "layers.0",
        "layers.1.0",
        "head",
    }
    assert kinds["scaled"] is Scaled and kinds["embedding"] is nn.Embedding


@torch.inference_mode()
def test_a_layer_lets_go_of_its_weight_and_an_embedding_does_not(model: Model) -> None:
    weight = model.embedding.weight.clone()
    pack(model)
    model(torch.arange(3))
    assert {name for name, _ in model.layers.named_parameters()} == {"0._bias", "1.0._bias"}
    assert not list(model.head.parameters())
    assert torch.equal(model.embedding.weight, weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_precisions_are_left_alone(model: Model, dtype: torch.dtype) -> None:
    model = model.to(dtype)
    pack(model)
    assert not [module for module in model.modules() if isinstance(module, PackedLinear)]


def test_nothing_is_packed_without_the_operators(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    pack(model)
    assert not [module for module in model.modules() if isinstance(module, PackedLinear)]
