"""Bidirectional InfoNCE against loops, its invariances, and its edges."""

import math
from itertools import combinations

import pytest
import torch

from crossalign.align import ALIGNERS, InfoNCE, InfoNCELoss
from crossalign.errors import ConfigError


def unit(x):
    return x / x.norm()


def loop(p, temperature, include_id=True):
    """Every pair, direction and anchor by itself; `{pair: loss}`."""
    tables = dict(zip(("id", *p.names), (p.item, *p.content), strict=True))
    if not include_id:
        del tables["id"]

    def has(m, i):
        return not (p.missing and m in p.missing and p.missing[m][i])

    items, found = sorted(set(p.items.tolist())), {}
    for pair in combinations(tables, 2):
        total = torch.zeros((), dtype=torch.float64)
        for a, b in (pair, pair[::-1]):
            anchors = [i for i in items if has(a, i) and has(b, i)]
            for i in anchors:
                logit = {
                    j: unit(tables[a][i]) @ unit(tables[b][j]) / temperature
                    for j in items
                    if has(b, j)
                }
                share = logit[i].exp() / torch.stack(list(logit.values())).exp().sum()
                total = total - share.log() / len(anchors)
        found["_".join(pair)] = total
    return found


def tables_of(p):
    return dict(zip(p.names, p.content, strict=True))


def arguments(p):
    return p.user, p.item, tables_of(p), p.users, p.items


def build(p, **options):
    return InfoNCELoss(modalities=p.names, **options).to(p.item.dtype)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("n_content", "include_id"),
    [(1, True), (2, True), (3, True), (4, True), (2, False), (3, False), (4, False)],
)
def test_equals_loop(problem, same, n_content, include_id, missing):
    p = problem(n_content, missing=missing, seed=n_content)
    infonce = build(p, temperature=0.3, learn_temperature=True, include_id=include_id)
    total = infonce(p.item, *p.content, p.items, missing=p.missing)
    terms = infonce.terms(p.item, *p.content, p.items, missing=p.missing)
    expected = loop(p, infonce.temperature, include_id)
    assert list(terms) == list(expected)
    tensors = [p.item, *p.content, infonce.temperature]
    for name, value in expected.items():
        same(terms[name], value, tensors)
    same(total, sum(expected.values()), tensors)


@pytest.mark.parametrize("missing", [False, True])
def test_the_aligner_weighs_the_loss(problem, same, missing):
    p = problem(2, missing=missing)
    aligner = InfoNCE(4, p.names, missing=p.missing, weight=0.3, temperature=0.4).double()
    terms = aligner.terms(*arguments(p))
    assert list(terms) == ["id_image", "id_text", "image_text"]
    total = 0.3 * sum(loop(p, aligner.infonce.temperature).values())
    same(aligner(*arguments(p)), total, [p.user, p.item, *p.content])


def test_without_ids_it_is_the_equation_of_the_paper(problem):
    """Between image and text alone: the items' own vectors are not touched."""
    p = problem(2)
    terms = InfoNCE(4, p.names, include_id=False).double().terms(*arguments(p))
    assert list(terms) == ["image_text"]
    item, image = torch.autograd.grad(
        terms["image_text"], [p.item, p.content[0]], allow_unused=True
    )
    assert item is None
    assert image.any()


def test_gradcheck(problem):
    p = problem(2, missing=True)
    infonce = build(p, learn_temperature=True)

    def loss(temperature, item, *content):
        given = {"temperature": temperature}
        arguments = (item, *content, p.items)
        return torch.func.functional_call(infonce, given, arguments, {"missing": p.missing})

    values = [infonce.temperature, p.item, *p.content]
    values = [value.detach().clone().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(loss, values)


def test_repeats_and_order_do_not_matter(problem, same):
    p = problem(2)
    infonce = build(p)
    again = torch.cat((p.items, p.items.flip(0)))
    new, old = (infonce(p.item, *p.content, items) for items in (again, p.items))
    same(new, old, [p.item, *p.content])


def test_swapping_two_views_changes_nothing(problem, same):
    p = problem(1)
    infonce = build(p)
    there, back = infonce(p.item, *p.content, p.items), infonce(*p.content, p.item, p.items)
    same(there, back, [p.item, *p.content])


def test_one_item_has_nothing_to_be_told_from(problem):
    p = problem(3)
    loss = build(p)(p.item, *p.content, torch.tensor([4, 4]))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-14)
    assert all(table.grad.abs().max() < 1e-14 for table in (p.item, *p.content))


def test_equal_rows_cost_the_logarithm_of_the_items(problem):
    p = problem(1)
    loss = build(p)(torch.ones(11, 4), torch.ones(11, 4), p.items)
    assert loss.item() == pytest.approx(2 * math.log(len(p.items.unique())))


def test_items_that_lack_a_view_everywhere_cost_nothing(problem):
    p = problem(2)
    gone = {"text": torch.ones(11, dtype=torch.bool)}
    terms = build(p).terms(p.item, *p.content, p.items, missing=gone)
    assert terms["id_text"].item() == terms["image_text"].item() == 0
    assert terms["id_image"].item() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision_is_finite(problem, dtype):
    p = problem(2, missing=True, dtype=dtype)
    loss = InfoNCELoss(temperature=0.01)(p.item, *p.content, p.items, missing=p.missing)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(table.grad).all() for table in (p.item, *p.content))


def test_zero_rows_are_finite_and_still(problem):
    p = problem(1)
    blank = torch.zeros(11, 4, dtype=torch.float64, requires_grad=True)
    loss = build(p)(p.item, blank, p.items)
    loss.backward()
    assert torch.isfinite(loss)
    assert not blank.grad.any()


def test_the_temperature_is_learnt_only_if_asked_for(problem):
    p = problem(1)
    for learn in (False, True):
        aligner = InfoNCE(4, p.names, temperature=5.0, learn_temperature=learn).double()
        aligner(*arguments(p)).backward()
        temperature = aligner.infonce.temperature
        assert (temperature.grad is not None) == learn
        assert temperature.item() == (1.0 if learn else 5.0)  # kept in [0.01, 1]
        assert set(aligner.diagnostics()) == ({"temperature/infonce"} if learn else set())


def test_only_the_rows_of_the_batch_are_projected_and_missing_ones_are_not(problem):
    p = problem(2, missing=True)
    widths, asked = {"image": 9, "text": 5}, {}

    class Spy:
        def __init__(self, name, width):
            self.name, self.width = name, width

        def __getitem__(self, rows):
            asked[self.name] = rows
            return torch.randn(len(rows), self.width, dtype=torch.float64)

    aligner = InfoNCE(4, p.names, widths, p.missing).double()
    features = {name: Spy(name, width) for name, width in widths.items()}
    aligner(p.user, p.item, features, p.users, p.items).backward()
    items = p.items.unique()
    for name, rows in asked.items():
        assert torch.equal(rows, items[~p.missing[name][items]])
    assert all(q.grad.any() for q in aligner.projectors.parameters())


def test_three_lines_do():
    item, image, text = (torch.randn(20, 8, requires_grad=True) for _ in range(3))
    infonce = InfoNCELoss(temperature=0.2)
    loss = infonce(item, image, text, torch.randint(0, 20, (32,)))
    loss.backward()
    assert item.grad.any()


def test_wrong_use_says_what_is_wrong(problem):
    p = problem(2)
    with pytest.raises(ConfigError, match="'sound' alone has nothing to align with"):
        InfoNCE(4, ("sound",), include_id=False)
    with pytest.raises(ConfigError, match="called with 1 tables"):
        build(p)(p.item, p.content[0], p.items)
    options = ALIGNERS["infonce"].options()
    assert set(options) == {"weight", "temperature", "learn_temperature", "include_id"}
    assert all(option.help for option in options.values())
