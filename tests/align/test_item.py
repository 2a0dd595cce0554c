"""Item-level alignment against a loop over items, its invariances, and its edges."""

import pytest
import torch

from crossalign.align import ILALoss
from crossalign.errors import ConfigError


def unit(x):
    return x / x.norm()


def loop_ila_dt(p, ila, leaky_bi, feedback="cosine", spread_over="batch"):
    """ILA and DT item by item, direction by direction, straight from the equations."""
    scaled = unit if feedback == "cosine" else torch.Tensor.clone
    names = ("id", *p.names)
    table = dict(zip(names, (p.item, *p.content), strict=True))
    has = {
        m: [not (p.missing and m in p.missing and p.missing[m][i]) for i in range(len(p.item))]
        for m in names
    }
    items = sorted(set(p.items.tolist()))
    users_of = {
        i: [unit(p.user[u]).detach() for u, j in zip(p.users, p.items, strict=True) if j == i]
        for i in items
    }
    score = {
        m: {i: sum(u @ unit(table[m][i]) for u in users_of[i]).detach() / len(users_of[i])
            for i in items if has[m][i]}
        for m in names
    }  # fmt: skip
    seen = {  # one score a user, of what directions compare
        m: {i: [scaled(p.user[u]).detach() @ scaled(table[m][i]).detach()
                for u, j in zip(p.users, p.items, strict=True) if j == i]
            for i in items if has[m][i]}
        for m in names
    }  # fmt: skip
    compared = {m: {i: sum(s) / len(s) for i, s in seen[m].items()} for m in names}
    n_directions = len(names) * (len(names) - 1)
    ila_sum = dt_sum = sum(t.sum() for t in table.values()) * 0
    for a in names:
        for b in names:
            if a == b:
                continue
            values = list(compared[b].values())
            of_batch = torch.stack(values).var() if leaky_bi and len(values) > 1 else 0.0
            gains = []
            for i in items:
                if not (has[a][i] and has[b][i]):
                    continue
                v, s = of_batch, compared[b][i]
                if leaky_bi and spread_over == "users":
                    v = torch.stack(seen[b][i]).var() if len(seen[b][i]) > 1 else 0.0
                if s + v * (torch.exp(1 - s) - 1) <= compared[a][i]:
                    continue
                x = unit(table[a][i])
                y = unit(x + ila.maps[f"{a}_to_{b}"].weight @ x)
                shown = {j: y @ unit(table[b][j]).detach() for j in items if has[b][j]}
                logits = torch.stack(list(shown.values())) / ila.temperature
                ila_sum = ila_sum + logits.logsumexp(0) - shown[i] / ila.temperature
                gains.append(sum(u @ y for u in users_of[i]) / len(users_of[i]) - score[a][i])
            if gains:
                dt_sum = dt_sum - torch.stack(gains).mean() / n_directions
    return ila_sum / len(items), dt_sum


def build(p, leaky_bi, gamma=0.1):
    return ILALoss(p.item.shape[1], gamma, leaky_bi, p.names).to(p.item.dtype)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("leaky_bi", [False, True])
@pytest.mark.parametrize("n_content", [1, 2, 3, 4])
def test_equals_loop(problem, same, n_content, leaky_bi, missing):
    p = problem(n_content, missing=missing, seed=n_content)
    ila = build(p, leaky_bi)
    terms = ila.terms(p.user, p.item, *p.content, p.users, p.items, missing=p.missing)
    ila_loop, dt_loop = loop_ila_dt(p, ila, leaky_bi)
    tensors = [p.user, p.item, *p.content, *ila.parameters()]
    same(terms["ila"], ila_loop, tensors)
    same(terms["dt"], dt_loop, tensors)
    total = ila(p.user, p.item, *p.content, p.users, p.items, missing=p.missing)
    torch.testing.assert_close(total, ila_loop + dt_loop)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("spread_over", ["batch", "users"])
@pytest.mark.parametrize("feedback", ["cosine", "inner_product"])
def test_other_readings_of_the_scores_equal_loops(problem, same, feedback, spread_over, missing):
    p = problem(2, n_pairs=30, missing=missing)
    readings = {"feedback": feedback, "spread_over": spread_over}
    ila = ILALoss(4, 0.1, True, p.names, **readings).double()
    args = (p.user, p.item, *p.content, p.users, p.items)
    terms = ila.terms(*args, missing=p.missing)
    tensors = [p.user, p.item, *p.content, *ila.parameters()]
    for mine, loop in zip(terms.values(), loop_ila_dt(p, ila, True, **readings), strict=True):
        same(mine, loop, tensors)
    if readings != {"feedback": "cosine", "spread_over": "batch"}:
        usual = ILALoss(4, 0.1, True, p.names).double()
        usual.load_state_dict(ila.state_dict())
        usual(*args, missing=p.missing)
        shares = [
            {k: v for k, v in x.diagnostics().items() if k.startswith("direction")}
            for x in (ila, usual)
        ]
        assert shares[0] != shares[1], "another reading opens other directions"


@pytest.mark.parametrize("leaky_bi", [False, True])
def test_equals_published_form(published, problem, same, leaky_bi):
    p = problem(2, n_pairs=30)
    ila = build(p, leaky_bi)
    names = ("id", *p.names)
    maps = {(a, b): ila.maps[f"{a}_to_{b}"].weight for a in names for b in names if a != b}
    tables = dict(zip(names, (p.item, *p.content), strict=True))
    new = ila(p.user, p.item, *p.content, p.users, p.items)
    old = sum(published.ila_dt(p.user, tables, maps, ila.temperature, p.users, p.items, leaky_bi))
    same(new, old, [p.item, *p.content, *ila.parameters()])


def test_gradcheck(problem):
    """Numerical derivative of the loss in the maps, the temperature and DT's source rows.

    Scores and targets are constants of the loss, so the tables themselves are not checked here.
    """
    p = problem(2)
    ila = build(p, True)
    tables = [t.detach() for t in (p.user, p.item, *p.content)]
    names = [name for name, _ in ila.named_parameters()]

    def loss(*values):
        given = dict(zip(names, values, strict=True))
        return torch.func.functional_call(ila, given, (*tables, p.users, p.items))

    values = [v.detach().clone().requires_grad_() for v in ila.parameters()]
    assert torch.autograd.gradcheck(loss, values)


def test_identical_tables_leave_nothing_to_align(problem):
    p = problem(2)
    ila = build(p, False)
    loss = ila(p.user, p.item, p.item, p.item, p.users, p.items)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not p.item.grad.any()


def test_zero_maps_tune_nothing(problem):
    p = problem(2)
    ila = build(p, False)
    for direction in ila.maps.values():
        torch.nn.init.zeros_(direction.weight)
    terms = ila.terms(p.user, p.item, *p.content, p.users, p.items)
    assert abs(float(terms["dt"].detach())) < 1e-15


def test_targets_and_users_are_frozen(problem):
    """With users on one modality, all directions point to it, and it gets no gradient."""
    p = problem(1)
    p.user = p.content[0].detach()[:7].clone().requires_grad_()
    p.items = p.users.clone()
    ila = build(p, False)
    ila(p.user, p.item, *p.content, p.users, p.items).backward()
    assert p.user.grad is None
    assert not p.content[0].grad.any()
    assert p.item.grad.any()


def test_order_of_pairs_does_not_matter(problem):
    p = problem(2)
    ila = build(p, True)
    shuffled = torch.randperm(len(p.users))
    a = ila(p.user, p.item, *p.content, p.users, p.items)
    b = ila(p.user, p.item, *p.content, p.users[shuffled], p.items[shuffled])
    torch.testing.assert_close(a, b)


def test_lengths_of_rows_do_not_matter(problem):
    p = problem(2)
    ila = build(p, True)
    a = ila(p.user, p.item, *p.content, p.users, p.items)
    b = ila(3 * p.user, 2 * p.item, *(5 * c for c in p.content), p.users, p.items)
    torch.testing.assert_close(a, b)


DEGENERATE = {
    "one pair": ([2], [4]),
    "one item": ([0, 1, 2], [4, 4, 4]),
    "one user": ([3, 3, 3], [1, 2, 5]),
    "duplicates only": ([3, 3, 3], [4, 4, 4]),
    "empty": ([], []),
}


@pytest.mark.parametrize("leaky_bi", [False, True])
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_batches(problem, case, leaky_bi):
    p = problem(2)
    users, items = (torch.tensor(ids, dtype=torch.int64) for ids in DEGENERATE[case])
    ila = build(p, leaky_bi)
    loss = ila(p.user, p.item, *p.content, users, items)
    loss.backward()
    assert loss.isfinite()
    assert all(t.grad.isfinite().all() for t in (p.item, *p.content, *ila.parameters()))


@pytest.mark.parametrize("leaky_bi", [False, True])
def test_modality_missing_everywhere_takes_no_part(problem, leaky_bi):
    p = problem(2)
    ila = build(p, leaky_bi)
    everywhere = torch.ones(len(p.item), dtype=torch.bool)
    with torch.no_grad():
        p.content[1].fill_(torch.nan)
    both = ila.terms(p.user, p.item, *p.content, p.users, p.items, missing={"text": everywhere})
    (both["ila"] + both["dt"]).backward()
    assert not p.content[1].grad.any()
    assert p.item.grad.isfinite().all()
    alone = ILALoss(4, 0.1, leaky_bi, ("image",)).double()
    alone.load_state_dict(ila.state_dict(), strict=False)
    terms = alone.terms(p.user, p.item, p.content[0], p.users, p.items)
    torch.testing.assert_close(both["ila"], terms["ila"])
    torch.testing.assert_close(3 * both["dt"], terms["dt"], msg="divisor 6 against 2")


def test_zero_rows_stay_finite(problem):
    p = problem(2)
    with torch.no_grad():
        p.content[0].zero_()
    ila = build(p, True)
    ila(p.user, p.item, *p.content, p.users, p.items).backward()
    assert not p.content[0].grad.any()
    assert p.item.grad.isfinite().all()


def test_temperature_is_clamped_at_the_next_call(problem):
    p = problem(2)
    ila = build(p, False)
    for value, expected in ((9.0, 0.5), (-1.0, 0.001)):
        with torch.no_grad():
            ila.temperature.fill_(value)
        loss = ila(p.user, p.item, *p.content, p.users, p.items)
        assert float(ila.temperature.detach()) == expected
        assert loss.isfinite()


@pytest.mark.parametrize("gamma", [0.001, 0.015, 0.1])
def test_float32_agrees_with_float64(problem, gamma):
    """Also at temperatures where `exp` of a raw logit overflows float32."""
    values = []
    for dtype in (torch.float32, torch.float64):
        p = problem(2, dtype=dtype)
        torch.manual_seed(0)
        ila = build(p, True, gamma)
        values.append(ila(p.user, p.item, *p.content, p.users, p.items))
        values[-1].backward()
        values.append(p.item.grad)
    torch.testing.assert_close(values[0].double(), values[2], rtol=2e-4, atol=1e-5)
    torch.testing.assert_close(values[1].double(), values[3], rtol=2e-3, atol=2e-3 / gamma * 0.01)


def test_two_calls_before_one_backward(problem):
    """The temperature is clamped in place, which must not spoil an earlier call's graph."""
    p = problem(2)
    ila = build(p, False)
    args = (p.user, p.item, *p.content, p.users, p.items)
    (ila(*args) + ila(*args)).backward()
    twice = ila.temperature.grad.clone()
    ila.zero_grad()
    ila(*args).backward()
    torch.testing.assert_close(twice, 2 * ila.temperature.grad)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_tables_are_widened(problem, dtype):
    p = problem(2, dtype=torch.float32)
    ila = build(p, True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ila(p.user.to(dtype), p.item.to(dtype), *p.content, p.users, p.items)
    assert loss.dtype == torch.float32
    full = ila(p.user, p.item, *p.content, p.users, p.items)
    assert float(loss.detach()) == pytest.approx(float(full.detach()), rel=0.1)


@pytest.mark.parametrize("names", [(), "image", ("a", "a"), ("id", "a"), ("a.b",)])
def test_bad_names_are_refused(names):
    with pytest.raises(ConfigError):
        ILALoss(4, modalities=names)


def test_wrong_calls_say_what_is_wrong(problem):
    p = problem(2)
    ila = build(p, False)
    with pytest.raises(ConfigError, match="2 content modalities"):
        ila(p.user, p.item, p.content[0], p.users, p.items)
    with pytest.raises(ConfigError, match="same length"):
        ila(p.user, p.item, *p.content, p.users, p.items[:-1])
    with pytest.raises(ConfigError, match="did you mean 'text'"):
        ila(p.user, p.item, *p.content, p.users, p.items, missing={"texts": None})
