"""Layers that a model gives the same input are found by a pass, and packed as one product."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from langchain_amulet.engine.loading.packing import PackedLinear, PackedProduct, is_available, pack
from langchain_amulet.engine.loading.siblings import LayerPlace, siblings

SIZE = 16

needs_packing = pytest.mark.skipif(not is_available(), reason="this torch can't pack")


class Block(nn.Module):
    """Two layers that are given the same tensor."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Linear(SIZE, 24)
        self.second: nn.Module = nn.Linear(SIZE, 40, bias=bias)

    def forward(self, hidden: Tensor) -> Any:
        return self.first(hidden), self.second(hidden)


class Nested(Block):
    """One of them is in a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.second: nn.Module = nn.Sequential(nn.Linear(SIZE, 40))


class Copied(Block):
    """They are given tensors that are equal."""

    def forward(self, hidden: Tensor) -> Any:
        return self.first(hidden), self.second(hidden.clone())


class Overwritten(Block):
    """The tensor is another one's by the second call."""

    def forward(self, hidden: Tensor) -> Any:
        return self.first(hidden), self.second(hidden.add_(1))


class Twice(Block):
    """One of them is called once more, with what another layer is given, too."""

    def forward(self, hidden: Tensor) -> Any:
        return self.first(hidden), self.second(hidden), self.second(hidden + 1)


class Read(Block):
    """One of them is never called: its weight is."""

    def forward(self, hidden: Tensor) -> Any:
        return self.first(hidden), hidden @ self.second.weight.mT  # type: ignore[operator]


class Flat(Block):
    """Outputs are viewed in a way that parts of a wider tensor can't be."""

    def forward(self, hidden: Tensor) -> Any:
        return self.first(hidden).view(-1), self.second(hidden).view(-1)


class Toy(nn.Module):
    """A model with one block, called as a causal language model is."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.embedding, self.block = nn.Embedding(10, SIZE), block
        self.device = torch.device("cpu")

    def forward(self, input_ids: Tensor, use_cache: bool) -> Any:
        return self.block(self.embedding(input_ids))


def toy(block: nn.Module) -> Toy:
    torch.manual_seed(0)
    return Toy(block).eval()


def places(model: nn.Module) -> list[LayerPlace]:
    return [
        LayerPlace(parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear)
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Block(), [["first", "second"]]),
        (Block(bias=False), [["first"], ["second"]]),
        (Nested(), [["first"], ["0"]]),
        (Copied(), [["first"], ["second"]]),
        (Overwritten(), [["first"], ["second"]]),
        (Twice(), [["first"], ["second"]]),
        (Read(), [["first"]]),
        (Flat(), [["first"], ["second"]]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_layers_are_siblings_only_if_called_once_each_with_the_same_tensor(
    block: nn.Module, expected: list[list[str]]
) -> None:
    model = toy(block)
    found = siblings(model, places(model))
    assert [[place.name for place in group] for group in found] == expected
    assert not any(module._forward_hooks for module in model.modules())


@needs_packing
@pytest.mark.parametrize(
    "kind", [Block, Nested, Copied, Overwritten, Twice, Read, Flat], ids=lambda kind: kind.__name__
)
@torch.inference_mode()
def test_a_packed_block_computes_what_the_plain_one_does(kind: type[Block]) -> None:
    model = toy(kind())
    ids = torch.randint(0, 10, (3, 5))
    expected = model(ids, use_cache=False)
    assert pack(model, None) == (1 if kind is Read else 2)
    for found, plain in zip(model(ids, use_cache=False), expected, strict=True):
        torch.testing.assert_close(found, plain)


@needs_packing
@torch.inference_mode()
def test_whoever_is_called_with_what_in_whatever_order_gives_its_own_product() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(SIZE, width) for width in (8, 24, 40)]
    product = PackedProduct(layers)
    packed = [PackedLinear(layer, product, place, False) for place, layer in enumerate(layers)]
    inputs, draws = [torch.randn(2, 3, SIZE) for _ in range(2)], random.Random(0)
    for _ in range(200):
        place, hidden = draws.randrange(3), draws.choice(inputs)
        torch.testing.assert_close(packed[place](hidden), layers[place](hidden))


@needs_packing
@torch.inference_mode()
def test_a_tensor_that_is_used_again_for_other_numbers_is_computed_again() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(SIZE, width) for width in (8, 24)]
    product, hidden = PackedProduct(layers), torch.randn(2, SIZE)
    for calls in ((0, 1), (0,), (0, 1)):  # as where a pass failed between the two
        for place in calls:
            torch.testing.assert_close(product.part(place, hidden), layers[place](hidden))
        hidden.add_(1)


@needs_packing
@torch.inference_mode()
def test_threads_that_run_a_model_at_once_each_get_their_own_products() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(SIZE, width) for width in (8, 24)]
    product, found = PackedProduct(layers), list[Tensor]()
    mine, others = torch.randn(2, SIZE), torch.randn(2, SIZE)

    def run() -> None:
        with torch.inference_mode():
            found.extend(product.part(place, others) for place in range(2))

    first = product.part(0, mine)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for place, result in enumerate((first, product.part(1, mine))):
        torch.testing.assert_close(result, layers[place](mine))
        torch.testing.assert_close(found[place], layers[place](others))


@needs_packing
def test_of_what_is_packed_together_nothing_is_in_memory_twice() -> None:
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=128, tie_word_embeddings=False, **shape, **heads)
    model: Any = LlamaForCausalLM(config)
    weights = [
        weakref.ref(place.layer.weight) for place in places(model) if place.name != "lm_head"
    ]
    pack(model, model.get_output_embeddings())
    gc.collect()
    assert len(weights) == 2 * 7 and not any(weight() is not None for weight in weights)
    products = {m._product for m in model.modules() if isinstance(m, PackedLinear)}
    assert len(products) == 2 * 4 + 1  # queries, keys and values; gate and up; two more; the head
