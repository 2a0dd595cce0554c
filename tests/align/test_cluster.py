"""Cluster-level alignment and Sinkhorn against loops, their invariances, and their edges."""

import pytest
import torch

from crossalign.align import CLALoss, sinkhorn


def unit(x):
    return x / x.norm()


def loop_codes(scores, rounds=3):
    """Sinkhorn in two nested loops over a list of lists, exactly in the published order."""
    q = [[float(torch.exp(z / 0.05)) for z in row] for row in scores]
    n, k = len(q), len(q[0])
    total = sum(map(sum, q))
    q = [[value / total for value in row] for row in q]
    for _ in range(rounds):
        for j in range(k):
            mass = sum(q[i][j] for i in range(n)) * k
            for i in range(n):
                q[i][j] /= mass
        for i in range(n):
            mass = sum(q[i]) * n
            q[i] = [value / mass for value in q[i]]
    return torch.tensor([[value * n for value in row] for row in q], dtype=torch.float64)


def loop_cla(p, cla):
    """Both terms pair by pair, repeats included; each ordered term is a mean over its pairs."""
    t = cla.temperature

    def swapped(pairs, left, right, prototypes):
        """Mean over pairs of codes of `left` against predictions of `right`, given as rows."""
        codes = loop_codes(torch.stack([prototypes @ x for x in left["all"]]).detach())
        total = 0
        for b in pairs:
            logits = prototypes @ right[b] / t
            total = total - codes[left["at"][b]] @ (logits - logits.logsumexp(0))
        return total / max(len(pairs), 1)

    def side(table, ids, kept):
        rows = {b: unit(table[ids[b]]) for b in kept}
        return {**rows, "all": list(rows.values()), "at": {b: n for n, b in enumerate(kept)}}

    every = range(len(p.users))
    users, items = side(p.user, p.users, every), side(p.item, p.items, every)
    proto = cla.prototypes_user_item
    user_item = swapped(every, users, items, proto) + swapped(every, items, users, proto)
    tables, masks = [p.item, *p.content], [None] + [(p.missing or {}).get(m) for m in p.names]
    kept = [[b for b in every if m is None or not m[p.items[b]]] for m in masks]
    sides = [side(x, p.items, k) for x, k in zip(tables, kept, strict=True)]
    modalities = 0
    for a in range(len(tables)):
        for b in range(len(tables)):
            both = [n for n in kept[a] if n in kept[b]]
            if a != b and both:
                modalities = modalities + swapped(
                    both, sides[a], sides[b], cla.prototypes_modalities
                )
    return user_item / 2, modalities / (len(tables) * (len(tables) - 1))


def build(p, k=6, gamma=0.2):
    return CLALoss(k, p.item.shape[1], gamma, p.names).to(p.item.dtype)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_content", [1, 2, 3, 4])
def test_equals_loop(problem, same, n_content, missing):
    p = problem(n_content, missing=missing, seed=n_content)
    cla = build(p)
    terms = cla.terms(p.user, p.item, *p.content, p.users, p.items, missing=p.missing)
    user_item, modalities = loop_cla(p, cla)
    tensors = [p.user, p.item, *p.content, *cla.parameters()]
    same(terms["cla_user_item"], user_item, tensors)
    same(terms["cla_modalities"], modalities, tensors)
    total = cla(p.user, p.item, *p.content, p.users, p.items, missing=p.missing)
    torch.testing.assert_close(total, user_item + modalities)


def test_equals_published_form(published, problem, same):
    p = problem(2, n_pairs=30)
    cla = build(p, k=20)
    new = cla(p.user, p.item, *p.content, p.users, p.items)
    tables = {"id": p.item, **dict(zip(p.names, p.content, strict=True))}
    codebooks = (cla.prototypes_user_item, cla.prototypes_modalities)
    old = sum(published.cla(p.user, tables, *codebooks, cla.temperature, p.users, p.items))
    same(new, old, [p.user, p.item, *p.content, *cla.parameters()])


def test_temperature_gradcheck(problem):
    """The temperature only enters the predictions, so its derivative is the numerical one."""
    p = problem(2)
    cla = build(p)
    tables = [t.detach() for t in (p.user, p.item, *p.content)]

    def loss(temperature):
        given = {"temperature": temperature}
        return torch.func.functional_call(cla, given, (*tables, p.users, p.items))

    assert torch.autograd.gradcheck(loss, (cla.temperature.detach().clone().requires_grad_(),))


def test_without_content_only_users_and_items_are_compared(problem):
    p = problem(1)
    cla = build(p)
    terms = cla.terms(p.user, p.item, p.users, p.items)
    assert float(terms["cla_modalities"].detach()) == 0.0
    terms["cla_user_item"].backward()
    assert p.user.grad.any()


def test_codes_sum_to_one_and_balance_with_rounds():
    scores = torch.rand(40, 12, dtype=torch.float64) * 2 - 1
    codes = sinkhorn(scores)
    torch.testing.assert_close(codes.sum(1), torch.ones(40).double())
    spread = [sinkhorn(scores, rounds=n).sum(0).std() for n in (1, 3, 50)]
    assert spread[0] > spread[1] > spread[2]
    torch.testing.assert_close(
        sinkhorn(scores, rounds=500).sum(0), torch.full((12,), 40 / 12).double()
    )


def test_sinkhorn_ignores_a_constant():
    scores = torch.rand(9, 5, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores), sinkhorn(scores + 7.0))


def test_sinkhorn_counts_are_repetitions():
    scores = torch.rand(4, 5, dtype=torch.float64)
    counts = torch.tensor([1, 3, 2, 1])
    repeated = sinkhorn(scores.repeat_interleave(counts, 0))
    by_count = sinkhorn(scores, counts=counts).repeat_interleave(counts, 0)
    torch.testing.assert_close(by_count, repeated)
    assert sinkhorn(scores[:0]).shape == (0, 5)


def test_prototypes_are_normalised_in_place(problem):
    p = problem(2)
    cla = build(p)
    with torch.no_grad():
        cla.prototypes_user_item.mul_(9)
    before = cla.prototypes_user_item
    cla(p.user, p.item, *p.content, p.users, p.items)
    assert cla.prototypes_user_item is before
    for prototypes in (cla.prototypes_user_item, cla.prototypes_modalities):
        torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(6).double())


def test_two_calls_before_one_backward(problem):
    """Prototypes change in place between the calls, which must not spoil the first graph."""
    p = problem(2)
    cla = build(p)
    args = (p.user, p.item, *p.content, p.users, p.items)
    (cla(*args) + cla(*args)).backward()
    twice = cla.prototypes_modalities.grad.clone()
    cla.zero_grad()
    cla(*args).backward()
    torch.testing.assert_close(twice, 2 * cla.prototypes_modalities.grad)


@pytest.mark.parametrize(
    ("users", "items"),
    [([2], [4]), ([0, 1, 2], [4, 4, 4]), ([3, 3], [1, 2]), ([3, 3], [4, 4]), ([], [])],
    ids=["one pair", "one item", "one user", "duplicates only", "empty"],
)
def test_degenerate_batches(problem, users, items):
    p = problem(2)
    cla = build(p)
    ids = (torch.tensor(users, dtype=torch.int64), torch.tensor(items, dtype=torch.int64))
    loss = cla(p.user, p.item, *p.content, *ids)
    loss.backward()
    assert loss.isfinite()
    tensors = (p.user, p.item, *p.content, *cla.parameters())
    assert all(t.grad.isfinite().all() for t in tensors)


def test_modality_missing_everywhere_takes_no_part(problem):
    p = problem(2)
    cla = build(p)
    with torch.no_grad():
        p.content[1].fill_(torch.nan)
    everywhere = torch.ones(len(p.item), dtype=torch.bool)
    args = (p.user, p.item, *p.content, p.users, p.items)
    both = cla.terms(*args, missing={"text": everywhere})
    (both["cla_user_item"] + both["cla_modalities"]).backward()
    assert not p.content[1].grad.any()
    assert cla.prototypes_modalities.grad.isfinite().all()
    alone = cla.terms(p.user, p.item, p.content[0], p.users, p.items)
    torch.testing.assert_close(3 * both["cla_modalities"], alone["cla_modalities"])


@pytest.mark.parametrize("gamma", [0.01, 0.2])
def test_float32_agrees_with_float64(problem, gamma):
    results = []
    for dtype in (torch.float32, torch.float64):
        p = problem(2, n_pairs=200, dtype=dtype)
        torch.manual_seed(0)
        cla = build(p, k=100, gamma=gamma)
        loss = cla(p.user, p.item, *p.content, p.users, p.items)
        loss.backward()
        results.append(
            (loss.double(), p.user.grad.double(), cla.prototypes_modalities.grad.double())
        )
    torch.testing.assert_close(results[0], results[1], rtol=1e-3, atol=1e-4)


def test_temperature_is_clamped_at_the_next_call(problem):
    p = problem(2)
    cla = build(p)
    for value, expected in ((9.0, 0.99), (-1.0, 0.01)):
        with torch.no_grad():
            cla.temperature.fill_(value)
        assert cla(p.user, p.item, *p.content, p.users, p.items).isfinite()
        assert float(cla.temperature.detach()) == expected
