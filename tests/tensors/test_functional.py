"""The fast numeric core against plain autograd."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from crossalign.tensors import products
from crossalign.tensors.functional import (
    contrastive_sum,
    known_gradient,
    log_partition,
    row_blocks,
    unit_rows,
)


def unit(n, dim=8, dtype=torch.float64):
    return normalize(torch.randn(n, dim, dtype=dtype)).requires_grad_()


def plain(anchors, candidates, positives, temperature):
    logits = anchors @ candidates.T / temperature
    return cross_entropy(logits, positives, reduction="sum")


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Few cells a block, so that small inputs take many blocks."""
    monkeypatch.setattr("crossalign.tensors.functional._CELLS", {"cpu": 40})


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("temperature", [0.001, 0.02, 0.3])
def test_contrast_equals_cross_entropy(same, temperature):
    anchors, candidates = unit(23), unit(9)
    positives = torch.randint(0, 9, (23,))
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    new = contrastive_sum(anchors, candidates, positives, t)
    same(new, plain(anchors, candidates, positives, t), [anchors, candidates, t])


@pytest.mark.usefixtures("tiny_blocks")
def test_long_rows_do_not_overflow(same):
    """Logits of thousands, as inner products of free vectors may have."""
    anchors, candidates = ((40 * unit(n).detach()).requires_grad_() for n in (23, 9))
    positives, t = torch.randint(0, 9, (23,)), torch.tensor(0.2).double().requires_grad_()
    new = contrastive_sum(anchors, candidates, positives, t, bounded=False)
    same(new, plain(anchors, candidates, positives, t), [anchors, candidates, t])


@pytest.mark.parametrize("temperature", [0.001, 0.02, 0.3])
def test_float32_path_equals_float64(temperature):
    """Through oneDNN and padding where the machine has it; sizes are no whole tiles."""
    torch.manual_seed(1)
    wide = [unit(203), unit(150), torch.tensor(temperature).double().requires_grad_()]
    narrow = [x.detach().float().requires_grad_() for x in wide]
    positives = torch.randint(0, 150, (203,))
    plain(wide[0], wide[1], positives, wide[2]).backward()
    loss = contrastive_sum(narrow[0], narrow[1], positives, narrow[2])
    loss.backward()
    for mine, theirs in zip(narrow, wide, strict=True):
        scale = theirs.grad.abs().max()
        torch.testing.assert_close(
            mine.grad.double() / scale, theirs.grad / scale, rtol=0, atol=2e-4
        )


def test_gradcheck():
    inputs = (unit(6), unit(4), torch.tensor(0.3).double().requires_grad_())
    weights = torch.rand(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *x: log_partition(*x, weights=weights), inputs)
    assert torch.autograd.gradcheck(unit_rows, (torch.randn(5, 3).double().requires_grad_(),))


def test_visitor_sees_every_logit_once():
    anchors, candidates, temperature = unit(7), unit(5), torch.tensor(0.5).double()
    seen = torch.zeros(7, 5, dtype=torch.float64)

    def visit(block, logits):
        seen[block] += logits

    log_partition(anchors, candidates, temperature, visit=visit)
    base_two = (anchors @ candidates.T / temperature).detach() / torch.log(
        torch.tensor(2.0).double()
    )
    torch.testing.assert_close(seen, base_two)


def test_no_gradient_is_formed_when_none_is_wanted():
    with torch.no_grad():
        loss = log_partition(unit(3), unit(4), torch.tensor(0.1).double())
    assert not loss.requires_grad
    anchors, candidates = unit(3), unit(4).detach()
    log_partition(anchors, candidates, torch.tensor(0.1).double()).backward()
    assert anchors.grad.any()


def test_known_gradient_scales_with_what_comes_back():
    x = torch.ones(3, requires_grad=True)
    (5 * known_gradient(torch.tensor(2.0), [x], [torch.arange(3.0)])).backward()
    torch.testing.assert_close(x.grad, torch.tensor([0.0, 5.0, 10.0]))


def test_unit_rows_of_zero_rows_are_zero_and_still():
    x = torch.zeros(2, 3, requires_grad=True)
    unit_rows(x).sum().backward()
    assert not unit_rows(x).any()
    assert not x.grad.any()


@pytest.mark.usefixtures("tiny_blocks")
def test_blocks_cover_every_row_once():
    for n in (0, 1, 7, 64):
        rows = [i for block in row_blocks(n, 9, torch.device("cpu")) for i in range(n)[block]]
        assert rows == list(range(n))


@pytest.mark.parametrize("shape", [(1, 1, 1), (64, 8, 130), (3, 64, 0), (0, 4, 5)])
def test_product_equals_matmul(shape):
    n, k, m = shape
    left, right = torch.randn(n, k), torch.randn(k, m)
    torch.testing.assert_close(products.product(left, right), left @ right)
    torch.testing.assert_close(products.product(left, right.T.contiguous().T), left @ right)
    torch.testing.assert_close(products.product(right.T, left.T), (left @ right).T)


def test_plain_products_do_without_padding(monkeypatch):
    """A build of torch without oneDNN takes the same steps with `@`."""
    monkeypatch.setattr(products, "onednn_is_faster", lambda: False)
    rows = torch.randn(5, 3)
    assert products.whole_tiles(rows) is rows
    torch.testing.assert_close(products.product(rows, rows.T), rows @ rows.T)


@pytest.mark.parametrize(("chosen", "onednn"), [("mkl", False), ("onednn", True)])
def test_the_environment_chooses_the_kernel_without_timing(monkeypatch, chosen, onednn):
    """So that several machines can round alike."""
    monkeypatch.setenv("CROSSALIGN_PRODUCTS", chosen)
    monkeypatch.setattr(products, "onednn_works", lambda: True)
    monkeypatch.setattr(products, "_seconds", lambda *kernels: pytest.fail("it was timed"))
    assert products.onednn_is_faster.__wrapped__() is onednn


@pytest.mark.parametrize(
    ("onednn_seconds", "onednn"), [(1.0, True), (1.6, True), (2.1, False), (0.5, True)]
)
def test_the_faster_kernel_is_taken(monkeypatch, onednn_seconds, onednn):
    monkeypatch.delenv("CROSSALIGN_PRODUCTS", raising=False)
    monkeypatch.setattr(products, "onednn_works", lambda: True)
    seconds = {products._onednn_product: onednn_seconds, torch.mm: 1.0}
    monkeypatch.setattr(products, "_seconds", lambda *kernels: [seconds[k] for k in kernels])
    assert products.onednn_is_faster.__wrapped__() is onednn


@pytest.mark.parametrize("faster", [True, False])
def test_products_are_added_up_in_place(monkeypatch, faster):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: faster and products.onednn_works())
    left, right, total = torch.randn(4, 3), torch.randn(3, 5), torch.ones(4, 5)
    products.add_product(total, left, right)
    torch.testing.assert_close(total, 1 + left @ right)
