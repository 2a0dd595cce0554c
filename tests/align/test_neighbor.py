"""Neighbour-level alignment against a loop over items, padding rules, and edges."""

from types import SimpleNamespace

import pytest
import torch

from crossalign.align import CNALoss
from crossalign.errors import ConfigError


def unit(x):
    return x / x.norm()


def loop_cna(p, cna, attention, temperature):
    """Item by item, modality by modality: the mean of what is left, else of the item."""
    contrast = reg = (p.item.sum() + sum(c.sum() for c in p.content)) * 0
    masks = [None] + [(p.missing or {}).get(m) for m in p.names]
    for table, mask in zip((p.item, *p.content), masks, strict=True):
        has = [mask is None or not bool(mask[i]) for i in range(len(p.item))]
        items = [i for i in sorted(set(p.items.tolist())) if has[i]]
        means = []
        for i in items:
            listed = enumerate(p.neighbors[i].tolist())
            left = [(attention[r], j) for r, j in listed if j >= 0 and has[j]] or [(1.0, i)]
            total = sum(weight for weight, _ in left)
            means.append(sum(weight * unit(table[j]) for weight, j in left) / total)
        losses = []
        for n, i in enumerate(items):
            logits = torch.stack([unit(table[i]) @ unit(f) for f in means]) / temperature
            losses.append(logits.logsumexp(0) - logits[n])
        if items:
            contrast = contrast + torch.stack(losses).mean()
            reg = reg + sum(f @ f for f in means) / 2
    return contrast / (1 + len(p.content)), reg


def build(p, reduction="mean", reg_weight=0.5, temperature=0.2):
    return CNALoss(p.neighbors, temperature, reduction, reg_weight, p.names).to(p.item.dtype)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "param_attn"])
@pytest.mark.parametrize("n_content", [1, 2, 3, 4])
def test_equals_loop(problem, same, n_content, reduction, missing):
    p = problem(n_content, missing=missing, seed=n_content)
    cna = build(p, reduction)
    with torch.no_grad():
        cna.rank_weights.copy_(torch.tensor([0.3, -0.5, 1.0]))
    weights = cna.rank_weights if reduction == "param_attn" else torch.zeros(3).double()
    terms = cna.terms(p.item, *p.content, p.items, missing=p.missing)
    contrast, reg = loop_cna(p, cna, weights.softmax(0), 0.2)
    tensors = [p.item, *p.content]
    if reduction == "param_attn":
        tensors.append(cna.rank_weights)
    same(terms["cna"], contrast, tensors)
    same(terms["cna_reg"], 0.5 * reg, tensors)
    total = cna(p.item, *p.content, p.items, missing=p.missing)
    torch.testing.assert_close(total, contrast + 0.5 * reg)


def test_equals_published_form(published, problem, same):
    p = problem(2, n_pairs=30)
    p.neighbors = torch.randint(0, 11, (11, 3))
    cna = build(p, reg_weight=0.0)
    tables = {"id": p.item, **dict(zip(p.names, p.content, strict=True))}
    attention = torch.full((3,), 1 / 3, dtype=torch.float64)
    old, _ = published.cna(tables, p.neighbors, attention, 0.2, p.items)
    same(cna(p.item, *p.content, p.items), old, [p.item, *p.content])


def test_gradcheck(problem):
    p = problem(2)
    cna = build(p, "param_attn")

    def loss(item, image, text, weights):
        given = {"rank_weights": weights}
        return torch.func.functional_call(cna, given, (item, image, text, p.items))

    weights = cna.rank_weights.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (p.item, *p.content, weights))


def test_what_is_left_of_a_short_list_weighs_alike():
    """Whatever the length of the list: no neighbour counts for two because another is missing."""
    torch.manual_seed(0)
    item, content = torch.randn(4, 5), torch.randn(4, 5)
    items, lacks = torch.arange(4), torch.tensor([False, False, False, True])
    short = torch.tensor([[1, 2, 3], [0, 2, -1], [0, -1, -1], [-1, -1, -1]])
    wide = torch.cat([short, torch.full((4, 4), -1)], dim=1)
    values = [
        CNALoss(table, modalities=("image",)).terms(item, content, items, missing={"image": lacks})
        for table in (short, wide)
    ]
    torch.testing.assert_close(values[0], values[1])


def test_an_item_without_neighbours_is_its_own():
    neighbors = torch.tensor([[3, -1], [-1, -1], [0, 1], [-1, 1]])
    expected = torch.tensor([[3, 0], [1, 1], [0, 1], [3, 1]])
    torch.testing.assert_close(CNALoss(neighbors).neighbors, expected)


def test_repeats_in_the_batch_count_once(problem):
    p = problem(2)
    cna = build(p)
    distinct = p.items.unique()
    torch.testing.assert_close(cna(p.item, *p.content, p.items), cna(p.item, *p.content, distinct))


def test_rank_weights_train_only_with_attention(problem):
    p = problem(2)
    assert not build(p).rank_weights.requires_grad
    cna = build(p, "param_attn")
    cna(p.item, *p.content, p.items).backward()
    assert cna.rank_weights.grad.any()


@pytest.mark.parametrize("items", [[4], [4, 4, 4], []], ids=["one", "duplicates", "empty"])
def test_degenerate_batches(problem, items):
    p = problem(2)
    loss = build(p)(p.item, *p.content, torch.tensor(items, dtype=torch.int64))
    loss.backward()
    assert loss.isfinite()
    assert all(t.grad.isfinite().all() for t in (p.item, *p.content))


def test_modality_missing_everywhere_takes_no_part(problem):
    p = problem(2)
    with torch.no_grad():
        p.content[1].fill_(torch.nan)
    everywhere = torch.ones(len(p.item), dtype=torch.bool)
    cna = build(p, reg_weight=0.0)
    both = cna(p.item, *p.content, p.items, missing={"text": everywhere})
    both.backward()
    assert not p.content[1].grad.any()
    alone = cna(p.item, p.content[0], p.items)
    torch.testing.assert_close(3 * both, 2 * alone)


def test_float32_agrees_with_float64(problem):
    for temperature in (0.01, 0.2):
        values = []
        for dtype in (torch.float32, torch.float64):
            p = problem(2, dtype=dtype)
            loss = build(p, temperature=temperature)(p.item, *p.content, p.items)
            loss.backward()
            values.append((loss.double(), p.item.grad.double()))
        torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("neighbors", "message"),
    [
        (torch.tensor([[0, 9], [1, 0]]), r"neighbors\[0, 1\] is 9"),
        (torch.tensor([[0, 1], [-2, 0]]), r"neighbors\[1, 0\] is -2"),
        (torch.zeros(4, dtype=torch.int64), "table"),
        (torch.zeros(4, 2), "float32"),
        (torch.zeros(4, 0, dtype=torch.int64), "table"),
    ],
)
def test_bad_neighbours_are_refused_in_one_line(neighbors, message):
    with pytest.raises(ConfigError, match=message) as error:
        CNALoss(neighbors)
    assert "\n" not in str(error.value)


def test_unknown_reduction_is_refused():
    with pytest.raises(ConfigError, match="param_attn"):
        CNALoss(torch.zeros(3, 2, dtype=torch.int64), reduction="sum")


def test_takes_the_neighbour_object_of_the_graph_package():
    """Anything with `ids` will do, so that a computed table can be handed over as it is."""
    ids = torch.tensor([[1, 2], [0, 2], [1, 0]])
    torch.testing.assert_close(CNALoss(SimpleNamespace(ids=ids)).neighbors, ids)
