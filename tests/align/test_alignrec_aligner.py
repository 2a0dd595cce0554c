"""AlignRec as an alignment against loops over users, items and pairs."""

import math

import pytest
import torch

from crossalign.align import ALIGNERS, AlignRecAlignment


def unit(x):
    return x / x.norm()


def loop_infonce(anchors, candidates, temperature):
    """Mean over the keys of `anchors` of finding the same key among `candidates`."""
    total = torch.zeros((), dtype=torch.float64)
    for key, anchor in anchors.items():
        logits = {
            other: unit(anchor) @ unit(row) / temperature for other, row in candidates.items()
        }
        share = logits[key].exp() / torch.stack(list(logits.values())).exp().sum()
        total = total - share.log() / len(anchors)
    return total


def loop(p, temperature, symmetric):
    """Unweighted terms."""
    pairs = list(zip(p.users.tolist(), p.items.tolist(), strict=True))
    cosines = [unit(p.user[u]) @ unit(p.item[i]) for u, i in pairs]
    terms = {"uia": 1 - sum(cosines) / len(cosines)}
    users = {u: p.user[u] for u in p.users.tolist()}
    items = {i: p.item[i] for i in p.items.tolist()}
    for name, table in zip(p.names, p.content, strict=True):
        has = {i: not (p.missing and p.missing[name][i]) for i in items}
        of_items = {i: table[i] for i in items if has[i]}
        of_users = {}
        for u in users:
            liked = [unit(table[i]) for other, i in pairs if other == u and has[i]]
            if liked:
                of_users[u] = sum(liked) / len(liked)
        for side, content, own in (("item", of_items, items), ("user", of_users, users)):
            loss = loop_infonce(content, own, temperature)
            if symmetric:
                back = loop_infonce({k: own[k] for k in content}, content, temperature)
                loss = (loss + back) / 2
            terms[f"cca_{side}_{name}"] = loss / len(p.names)
    return terms


def build(p, **options):
    return AlignRecAlignment(4, p.names, missing=p.missing, **options).to(p.item.dtype)


def arguments(p):
    return p.user, p.item, dict(zip(p.names, p.content, strict=True)), p.users, p.items


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_content", [1, 2, 3, 4])
def test_equals_loop(problem, same, n_content, missing, symmetric):
    p = problem(n_content, missing=missing, seed=n_content)
    options = {"cca_weight": 0.3, "uia_weight": 0.7, "temperature": 0.4, "symmetric": symmetric}
    aligner = build(p, **options)
    terms = aligner.terms(*arguments(p))
    expected = loop(p, aligner.temperature, symmetric)
    assert list(terms) == list(expected)
    for name, value in expected.items():
        weight = 0.7 if name == "uia" else 0.3
        same(terms[name], weight * value, [p.user, p.item, *p.content])


def test_gradcheck(problem):
    p = problem(2, missing=True)
    aligner = build(p, symmetric=True)

    def loss(user, item, *content):
        tables = dict(zip(p.names, content, strict=True))
        return aligner(user, item, tables, p.users, p.items)

    assert torch.autograd.gradcheck(loss, (p.user, p.item, *p.content))


def test_one_pair_moves_user_and_item_together_only(problem):
    p = problem(2)
    p.users, p.items = torch.tensor([3]), torch.tensor([4])
    terms = build(p).terms(*arguments(p))
    sum(terms.values()).backward()
    assert all(abs(terms[name].item()) < 1e-14 for name in terms if name != "uia")
    assert p.user.grad[3].any()
    assert p.item.grad[4].any()
    assert all(table.grad.abs().max() < 1e-14 for table in p.content)


def test_users_and_items_that_agree_cost_nothing(problem):
    p = problem(1)
    p.user, p.item = torch.ones(7, 4).double(), torch.ones(11, 4).double()
    assert build(p).terms(*arguments(p))["uia"].item() == pytest.approx(0, abs=1e-15)
    p.item = -p.item
    assert build(p).terms(*arguments(p))["uia"].item() == pytest.approx(0.2)


def test_equal_rows_cost_the_logarithms_of_items_and_users(problem):
    p = problem(1)
    p.user, p.item, p.content = torch.ones(7, 4), torch.ones(11, 4), [torch.ones(11, 4)]
    terms = build(p, cca_weight=1.0).terms(*arguments(p))
    for side, ids in (("item", p.items), ("user", p.users)):
        expected = math.log(len(ids.unique()))
        assert terms[f"cca_{side}_image"].item() == pytest.approx(expected, rel=1e-6)


def test_missing_everywhere_is_zero(problem):
    p = problem(2)
    p.missing = {"text": torch.ones(11, dtype=torch.bool)}
    terms = build(p).terms(*arguments(p))
    assert terms["cca_item_text"].item() == terms["cca_user_text"].item() == 0
    assert terms["cca_item_image"].item() > 0


def test_order_of_pairs_does_not_matter(problem, same):
    p = problem(2, missing=True)
    aligner, order = build(p), torch.randperm(len(p.users))
    old = aligner(*arguments(p))
    p.users, p.items = p.users[order], p.items[order]
    same(aligner(*arguments(p)), old, [p.user, p.item, *p.content])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision_is_finite(problem, dtype):
    p = problem(2, missing=True, dtype=dtype)
    loss = AlignRecAlignment(4, p.names, missing=p.missing)(*arguments(p))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(table.grad).all() for table in (p.user, p.item, *p.content))


def test_own_projectors_and_options():
    features = {"image": torch.randn(11, 9), "text": torch.randn(11, 5)}
    aligner = AlignRecAlignment(4, feature_dims={"image": 9, "text": 5})
    ids = torch.tensor([1, 2, 2])
    aligner(torch.randn(7, 4), torch.randn(11, 4), features, ids, ids).backward()
    assert all(parameter.grad.any() for parameter in aligner.projectors.parameters())
    options = ALIGNERS["alignrec"].options()
    assert set(options) == {"cca_weight", "uia_weight", "temperature", "symmetric"}
    assert all(option.help for option in options.values())
