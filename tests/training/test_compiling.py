"""Compiled layers compute what they computed before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossalign.components import make_backbone, make_graph
from crossalign.config import load_config
from crossalign.datasets import load_dataset
from crossalign.errors import ConfigError
from crossalign.models import Backbone, Batch
from crossalign.training.compiling import compile_layers, require_compiler

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    return load_dataset(
        "planted",
        options=load_config(None, ["data.planted_users=60", "data.planted_items=40"]).data,
    )


def made(name: str, data) -> Backbone:
    config = load_config(None, ["backbone.dim=16"], backbone=name)
    torch.manual_seed(0)
    backbone = make_backbone(config, make_graph(config, data), data)
    backbone.begin_epoch(torch.Generator().manual_seed(0))
    return backbone


def step(backbone: Backbone, data, size: int) -> list[Tensor]:
    """Terms and gradients of a batch."""
    users, items = data.train[:, :size]
    torch.manual_seed(0)
    terms = backbone.loss(Batch(users, items, (items + 1) % data.n_items), backbone())
    backbone.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad for p in backbone.parameters() if p.grad is not None]
    return [*terms.values(), *gradients]


@pytest.mark.parametrize("name", ["slmrec", "crane_released"])
def test_compiled_layers_give_equal_losses_and_gradients(name: str, data) -> None:
    """With the compiler's graphs and derivatives, if not its C++; batches of different sizes."""
    plain, compiled = made(name, data), made(name, data)
    before = list(compiled.state_dict())
    assert compile_layers(compiled, CPU, backend="aot_eager")
    assert list(compiled.state_dict()) == before
    for size in (30, 41):
        for ours, theirs in zip(step(compiled, data, size), step(plain, data, size), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_backbone_without_such_layers_is_refused(data) -> None:
    with pytest.raises(ConfigError, match=r"'training\.compile' has no effect: LightGCN") as caught:
        compile_layers(made("lightgcn", data), CPU)
    assert "\n" not in str(caught.value)


def test_a_missing_compiler_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(function):
        def run(x):
            raise RuntimeError("No working C++ compiler found\nin many\nlines")

        return run

    monkeypatch.setattr(torch, "compile", breaks)
    with pytest.raises(ConfigError, match=r"install a C\+\+ compiler .* or leave it out") as caught:
        require_compiler(CPU)
    assert "\n" not in str(caught.value)
