"""What every alignment must do, whatever it is: one suite over the registry, and over switches.

A new alignment is covered as soon as it is registered.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from crossalign.align import ALIGNERS, Alignment, Tables
from crossalign.align.directions import Directions
from crossalign.config import component_options

EVERYTHING = (
    {"name": "ila", "directions": "threshold", "theta": 0.1, "ramp": 2},
    {"name": "cla", "n_prototypes": 6, "weight": 0.5},
    {"name": "cna", "reduction": "param_attn"},
    {"name": "infonce", "learn_temperature": True},
    {"name": "bm3"},
    {"name": "alignrec", "weight": 0.5},
)
CASES = {
    **{name: (name, {}) for name in ALIGNERS.names()},
    **{f"ila, {rule}": ("ila", {"directions": rule}) for rule in get_args(Directions)},
    "ila, averaged spread": ("ila", {"directions": "dynamic", "spread_decay": 0.5}),
    "ila, other readings": (
        "ila",
        {"directions": "dynamic", "spread_over": "users", "feedback": "inner_product"},
    ),
    "cla, soft kmeans": ("cla", {"codes": "kmeans", "code_temperature": 0.1}),
    "ila without dt": ("ila", {"dt_weight": 0.0}),
    "dt without ila": ("ila", {"weight": 0.0, "dt_weight": 0.01}),
    "fettle, kmeans": ("fettle", {"codes": "kmeans", "learn_temperatures": False}),
    "cross, param_attn": ("cross", {"cna_reduction": "param_attn", "cna_reg_weight": 0.1}),
    "bm3, symmetric": ("bm3", {"symmetric": True}),
    "composed of everything": ("composed", {"terms": EVERYTHING}),
}
every_case = pytest.mark.parametrize("case", CASES)


def make(case: str, p: SimpleNamespace, seed: int = 0, **data: object) -> Alignment:
    """The alignment of a case, small, with its epoch begun."""
    name, options = CASES[case]
    entry = ALIGNERS[name]
    if "n_prototypes" in entry.options():
        options = {"n_prototypes": 6, **options}
    values = component_options("alignment", entry, options)
    if entry.cls.wants_neighbors(values):
        data["neighbors"] = p.neighbors
    torch.manual_seed(seed)
    alignment = entry.cls(4, p.names, **data, **values).to(p.item.dtype)
    tables = Tables(p.user.detach(), p.item.detach(), {m: t.detach() for m, t in content(p)})
    alignment.begin_epoch(1, torch.Generator().manual_seed(0), lambda: tables)
    return alignment


def content(p: SimpleNamespace) -> zip:
    return zip(p.names, p.content, strict=True)


def terms(alignment: Alignment, p: SimpleNamespace, seed: int = 7) -> dict[str, torch.Tensor]:
    """All terms, with the same draws each time."""
    torch.manual_seed(seed)
    return alignment.terms(p.user, p.item, dict(content(p)), p.users, p.items)


def leaves(p: SimpleNamespace) -> list[torch.Tensor]:
    return [p.user, p.item, *p.content]


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_terms_are_finite_scalars_of_the_tables_dtype(case, dtype, problem):
    p = problem(2, dtype=dtype)
    found = terms(make(case, p), p)
    assert found
    for value in found.values():
        assert value.shape == ()
        assert value.dtype == dtype
        assert value.isfinite()


@every_case
def test_the_loss_is_the_sum_of_the_terms(case, problem):
    p = problem(3, missing=True)
    alignment = make(case, p, missing=p.missing)
    parts = terms(alignment, p)
    alignment = make(case, p, missing=p.missing)  # an averaged spread has moved on
    torch.manual_seed(7)
    whole = alignment(p.user, p.item, dict(content(p)), p.users, p.items)
    torch.testing.assert_close(whole, sum(parts.values()))


@every_case
def test_the_order_of_the_pairs_does_not_matter(case, problem):
    p, shuffled = problem(2), problem(2)
    order = torch.randperm(len(p.users))
    shuffled.users, shuffled.items = p.users[order], p.items[order]
    torch.testing.assert_close(terms(make(case, p), p), terms(make(case, p), shuffled))


@every_case
@pytest.mark.parametrize(
    ("users", "items"),
    [([2], [4]), ([3, 3, 3], [4, 4, 4]), ([0, 1, 2], [4, 4, 4]), ([3, 3], [1, 2])],
    ids=["one pair", "duplicates only", "one item", "one user"],
)
def test_small_batches_have_finite_losses_and_gradients(case, users, items, problem):
    p = problem(2)
    p.users, p.items = torch.tensor(users), torch.tensor(items)
    loss = sum(terms(make(case, p), p).values())
    loss.backward()
    assert loss.isfinite()
    assert all(t.grad is None or t.grad.isfinite().all() for t in leaves(p))


@every_case
def test_a_modality_that_all_items_lack_is_never_read(case, problem):
    p = problem(2)
    with torch.no_grad():
        p.content[1].fill_(torch.nan)
    everywhere = torch.ones(len(p.item), dtype=torch.bool)
    loss = sum(terms(make(case, p, missing={"text": everywhere}), p).values())
    loss.backward()
    assert loss.isfinite()
    assert p.content[1].grad is None or not p.content[1].grad.any()
    assert all(t.grad is None or t.grad.isfinite().all() for t in (p.user, p.item, p.content[0]))


@every_case
def test_equal_modalities_leave_a_finite_loss(case, problem):
    """All scores tie, so that most rules open no direction at all."""
    p = problem(2)
    p.content = [p.item, p.item]
    loss = sum(terms(make(case, p), p).values())
    loss.backward()
    assert loss.isfinite()
    assert p.item.grad.isfinite().all()


@every_case
def test_the_same_seed_gives_the_same_alignment(case, problem):
    p = problem(2)
    torch.testing.assert_close(terms(make(case, p), p), terms(make(case, p), p), rtol=0, atol=0)


@every_case
def test_saved_state_gives_the_same_terms(case, problem, tmp_path):
    p = problem(2, dtype=torch.float32)
    first, second = make(case, p), make(case, p, seed=1)
    for alignment in (first, second):
        alignment.eval()
    terms(first, p)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for alignment in (first, second):  # k-means starts from the prototypes it finds
        tables = Tables(p.user.detach(), p.item.detach(), {m: t.detach() for m, t in content(p)})
        alignment.begin_epoch(2, torch.Generator().manual_seed(1), lambda given=tables: given)
    torch.testing.assert_close(terms(first, p), terms(second, p))


@every_case
def test_every_parameter_gets_a_gradient_or_is_frozen(case, problem):
    p = problem(2)
    alignment = make(case, p)
    sum(terms(alignment, p).values()).backward()
    without = [n for n, x in alignment.named_parameters() if x.requires_grad and x.grad is None]
    assert without == (["ila.temperature"] if case == "dt without ila" else [])


@every_case
def test_only_rows_within_reach_are_read(case, problem):
    """The cost of a step grows with the batch and its neighbours, never with the catalogue."""
    p = problem(2)
    alignment = make(case, p)
    asked = []

    class Spy:
        def __init__(self, table):
            self.table = table

        def __getitem__(self, rows):
            asked.append(rows)
            return self.table[rows]

    p.content = [Spy(table) for table in p.content]
    terms(alignment, p)
    near = p.neighbors[p.items.unique()]
    around = torch.cat((p.items, near[near >= 0])).unique()
    reach = alignment.reach(p.items.unique())
    assert all(torch.isin(rows, reach).all() for rows in asked)
    assert torch.isin(reach, around).all()
    n_read = len(p.content) if alignment.reads_content else 0
    assert len(asked) == n_read, "every table is read once"


@every_case
def test_it_learns(case, problem):
    """Steps down the gradient lower the loss, tables and parameters moving together."""
    p = problem(2, n_pairs=40, dtype=torch.float32)
    alignment = make(case, p)
    optimizer = torch.optim.Adam([*leaves(p), *alignment.parameters()], lr=0.02)
    history = []
    for step in range(25):
        loss = sum(terms(alignment, p, seed=step).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert sum(history[-5:]) < sum(history[:5])


@every_case
def test_diagnostics_are_detached_scalars(case, problem):
    p = problem(2)
    alignment = make(case, p)
    terms(alignment, p)
    for value in alignment.diagnostics().values():
        assert value.shape == ()
        assert value.isfinite()
        assert not value.requires_grad


@every_case
def test_state_holds_no_masks_neighbours_or_features(case, problem):
    p = problem(2, missing=True)
    alignment = make(case, p, missing=p.missing)
    averages = {name for name in alignment.state_dict() if name.endswith("policy.average")}
    assert set(alignment.state_dict()) - averages == set(dict(alignment.named_parameters()))
    assert bool(averages) == (case == "ila, averaged spread")


@pytest.mark.parametrize("name", ALIGNERS.names())
def test_every_option_has_help(name):
    options = ALIGNERS[name].options()
    assert options
    assert all(option.help for option in options.values())
    assert ALIGNERS[name].summary


@every_case
def test_second_derivatives_are_refused_in_words(case, problem):
    """Gradients are formed by hand: torch would take them for constants."""
    p = problem(2)
    loss = make(case, p)(p.user, p.item, dict(content(p)), p.users, p.items)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(loss, leaves(p), create_graph=True, allow_unused=True)


@every_case
def test_an_empty_batch_costs_nothing_and_moves_nothing(case, problem):
    """As the last of a loader may be: 0, and gradients of 0 that can be taken."""
    p = problem(2, dtype=torch.float32)
    alignment, none = make(case, p), p.users[:0]
    loss = alignment(p.user, p.item, dict(content(p)), none, none)
    assert loss == 0
    trained = [w for w in alignment.parameters() if w.requires_grad]
    together = loss + 0 * p.user.sum()  # as beside the loss of a backbone
    gradients = torch.autograd.grad(together, [*leaves(p), *trained], allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)
