"""Recursive cross-modal attention: how it starts, what moves what, what is learned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossalign.models.rca import RecursiveAttention

DIM = 4


def tables_of(n: int, n_modalities: int = 3) -> list[Tensor]:
    rng = torch.Generator().manual_seed(3)
    return [torch.randn(n, DIM, generator=rng) for _ in range(n_modalities)]


def attention(n_recursions: int, rca: str = "global", scale: str = "sqrt_n") -> RecursiveAttention:
    torch.manual_seed(0)
    return RecursiveAttention(
        3, DIM, n_recursions=n_recursions, tied=False, rca=rca, scale=scale, n_rows=20
    )


def shake(module: torch.nn.Module) -> None:
    """Random numbers for the maps that start at zero."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("out.weight"):
                parameter.normal_()


@pytest.mark.parametrize("rca", ["global", "token"])
def test_all_rounds_start_as_the_identity(rca: str) -> None:
    module, tables = attention(3, rca), tables_of(20)
    joined = torch.cat(tables, dim=1) @ module.fusion.weight.T
    torch.testing.assert_close(module(tables).content, joined)
    shake(module)
    assert not torch.allclose(module(tables).content, joined)


def test_without_rounds_content_is_a_linear_map_of_the_concatenation() -> None:
    module, tables = attention(0), tables_of(20)
    attended = module(tables)
    torch.testing.assert_close(attended.content, torch.cat(tables, dim=1) @ module.fusion.weight.T)
    assert attended.correlations == []
    assert [name for name, _ in module.named_parameters()] == ["fusion.weight"]


@pytest.mark.parametrize("rca", ["global", "token"])
def test_permuted_items_give_permuted_content(rca: str) -> None:
    module, tables, order = attention(2, rca), tables_of(20), torch.randperm(20)
    shake(module)
    permuted = module([table[order] for table in tables]).content
    torch.testing.assert_close(permuted, module(tables).content[order])


def test_only_global_attention_lets_one_item_move_the_others() -> None:
    moved = {}
    for rca in ("global", "token"):
        module, tables = attention(2, rca), tables_of(20)
        shake(module)
        before = module(tables).content
        tables[0][7] += 5
        moved[rca] = (module(tables).content != before).any(dim=1)
    assert moved["global"].all()
    assert moved["token"].nonzero().tolist() == [[7]]


def test_both_scales_agree_at_the_start_and_one_is_learned() -> None:
    root, number = attention(2, scale="sqrt_n"), attention(2, scale="n")
    for module in (root, number):
        torch.manual_seed(4)
        shake(module)
    number.load_state_dict(root.state_dict(), strict=False)
    torch.testing.assert_close(number(tables_of(20)).content, root(tables_of(20)).content)
    number(tables_of(20)).content.square().sum().backward()
    gains = [p for name, p in number.named_parameters() if name.endswith("log_gain")]
    assert len(gains) == 6
    assert all(gain.grad is not None and gain.grad != 0 for gain in gains)
