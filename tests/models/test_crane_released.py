"""The released computation of CRANE against `nn.MultiheadAttention` and dense formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from crossalign.errors import ConfigError
from crossalign.models import attention
from crossalign.models.attention import BlockwiseSelfAttention
from crossalign.models.crane_released import CRANEReleased

RTOL, ATOL = 1e-9, 1e-12


def torch_attention(ours: BlockwiseSelfAttention) -> nn.MultiheadAttention:
    """What the released code builds, without `batch_first`, with our weights."""
    theirs = nn.MultiheadAttention(ours.out_proj.in_features, ours.n_heads).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.in_proj.weight)
        theirs.in_proj_bias.copy_(ours.in_proj.bias)
        theirs.out_proj.weight.copy_(ours.out_proj.weight)
        theirs.out_proj.bias.copy_(ours.out_proj.bias)
    return theirs


def module_and_input(n: int = 23, n_modalities: int = 2) -> tuple[BlockwiseSelfAttention, Tensor]:
    torch.manual_seed(0)
    ours = BlockwiseSelfAttention(8, 4).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    return ours, torch.randn(n_modalities, n, 8, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("cells", [1, 23 * 8 * 5, 2**25])
def test_values_and_gradients_equal_torchs_attention(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "CELLS", cells)
    ours, x = module_and_input()
    theirs, y = torch_attention(ours), x.detach().clone().requires_grad_()
    items_first = y.transpose(0, 1)  # (n_items, n_modalities, dim), as released
    expected, weights = theirs(items_first, items_first, items_first)
    assert weights.shape == (2, 23, 23)
    found = ours(x)
    torch.testing.assert_close(found, expected.transpose(0, 1), rtol=RTOL, atol=ATOL)
    found.sin().sum().backward()
    expected.sin().sum().backward()
    pairs = [
        (x, y),
        (ours.in_proj.weight, theirs.in_proj_weight),
        (ours.in_proj.bias, theirs.in_proj_bias),
        (ours.out_proj.weight, theirs.out_proj.weight),
        (ours.out_proj.bias, theirs.out_proj.bias),
    ]
    for one, other in pairs:
        torch.testing.assert_close(one.grad, other.grad, rtol=RTOL, atol=ATOL)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(ConfigError, match="dim=6 must be a multiple of n_heads=4"):
        BlockwiseSelfAttention(6, 4)


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that any operation gives."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return result


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_no_operation_ever_gives_a_matrix_of_items_by_items(
    backend: SDPBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where torch has no fused kernel and forms the weights of a block."""
    cells, n = 2**15, 700
    monkeypatch.setattr(attention, "CELLS", cells)
    ours, x = module_and_input(n)
    with sdpa_kernel(backend), Largest() as mode:
        ours(x).square().sum().backward()
    assert mode.numel <= max(cells, 3 * x.numel()) < n * n


def test_blocks_are_forgotten_after_the_forward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that autograd keeps is as long as the table, however the kernel works."""
    monkeypatch.setattr(attention, "CELLS", 2**15)
    ours, x = module_and_input(700)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 8
        return tensor

    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t),
    ):
        ours(x)
    assert sum(kept.values()) < 20 * x.numel() < 700 * 700


@pytest.fixture
def make(golden_data, build):
    """`make(*modalities, **options)`: in float64, with random numbers for all parameters."""

    def make(*names: str, **options: object) -> CRANEReleased:
        backbone = build(CRANEReleased, golden_data(*names), dim=8, **options)
        rng = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in backbone.named_parameters():
                if not name.startswith("features."):
                    parameter.normal_(0, 0.3, generator=rng)
        return backbone

    return make


def test_text_of_one_item_moves_the_text_of_all_and_no_image(make) -> None:
    """The published code's attention is over the items; modalities do not attend to each other."""
    backbone = make("image", "text")
    before = backbone.attention(backbone.contents())
    with torch.no_grad():
        backbone.features["text"][5] += 3
    image, text = (backbone.attention(backbone.contents()) != before).any(dim=2)
    assert not image.any()
    assert text.all()


@pytest.mark.parametrize("names", [("image", "text"), ("image", "text", "audio"), ("text",)])
def test_representations_losses_and_gradients_equal_dense_formulas(
    names, make, golden, golden_data
) -> None:
    backbone, data, batch = make(*names, reg_weight=0.0), golden_data(*names), golden("bpr").batch
    kept = torch.arange(0, data.train.shape[1], 3)
    backbone.propagation.keep(kept)
    users, items = data.train[:, kept]
    matrix = torch.zeros(data.n_users, data.n_items, dtype=torch.float64)
    matrix[users, items] = 1
    matrix = (matrix.sum(1, keepdim=True) + 1e-7).rsqrt() * matrix
    matrix = matrix * (backbone_degrees(users, items, data.n_items) + 1e-7).rsqrt()
    user, item = backbone.user_embedding, backbone.item_embedding
    first_user, first_item = matrix @ item, matrix.T @ user
    user = (user + first_user + matrix @ first_item) / 3
    item = (item + first_item + matrix.T @ first_user) / 3

    content, graph = [], 0
    for name in names:
        layer, second = backbone.projectors[name], backbone.transforms[name]
        once = backbone.features[name] @ layer.weight.T + layer.bias
        content.append(once @ second.weight.T + second.bias)
        raw = data.features[name].double()
        unit = raw / raw.norm(dim=1, keepdim=True).clamp(min=1e-12)
        nearest = (unit @ unit.T).topk(10).indices
        graph = graph + torch.zeros_like(unit @ unit.T).scatter_(1, nearest, 1 / 10) / len(names)
    stacked = torch.stack(content, dim=1)
    theirs = torch_attention(backbone.attention)
    attended, _ = theirs(stacked, stacked, stacked)
    item = item + graph @ attended.mean(dim=1)
    margin = (user[batch.users] * (item[batch.items] - item[batch.negatives])).sum(1)
    expected = -margin.sigmoid().log().mean()

    found = backbone.loss(batch, backbone())
    assert set(found) == {"bpr"}
    torch.testing.assert_close(found["bpr"], expected, rtol=1e-7, atol=0)
    shared = [p for n, p in backbone.named_parameters() if not n.startswith("attention.")]
    results = [
        [*torch.autograd.grad(loss, [*shared, *attention_parameters])]
        for loss, attention_parameters in (
            (found["bpr"], list(backbone.attention.parameters())),
            (expected, list(theirs.parameters())),
        )
    ]
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)


def backbone_degrees(users: Tensor, items: Tensor, n_items: int) -> Tensor:
    return items.bincount(minlength=n_items).double()


def test_a_regulariser_is_there_if_asked_for(make, golden) -> None:
    batch = golden("bpr").batch
    backbone = make("image", "text", reg_weight=0.5)
    terms = backbone.loss(batch, backbone())
    user, item = backbone.user_embedding, backbone.item_embedding
    rows = (user[batch.users], item[batch.items], item[batch.negatives])
    norms = sum(row.square().sum().sqrt() for row in rows)
    torch.testing.assert_close(terms["reg"], 0.5 * norms / len(batch.users))


def test_features_are_trained_as_released_unless_frozen(make) -> None:
    assert make("image", "text").features["image"].requires_grad
    assert not make("image", "text", trainable_features=False).features["image"].requires_grad
