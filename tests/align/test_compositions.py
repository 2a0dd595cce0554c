"""FETTLE and CROSS: sums of their parts, at the cost of the batch's rows."""

import pytest
import torch

from crossalign.align import (
    ALIGNERS,
    CROSS,
    FETTLE,
    Alignment,
    CLALoss,
    CNALoss,
    ILALoss,
    InfoNCELoss,
    Projected,
)
from crossalign.errors import ConfigError

WIDTHS = {"image": 9, "text": 5}


class Spy:
    """A table that records the rows it was asked for."""

    def __init__(self, table):
        self.table = table
        self.asked = []

    def __getitem__(self, rows):
        self.asked.append(rows)
        return self.table[rows]


def build(p, name="cross", **options):
    torch.manual_seed(0)
    if name == "cross":
        options.setdefault("neighbors", p.neighbors)
    options = {"n_prototypes": 6, **options}
    return ALIGNERS[name].cls(4, p.names, **options).to(p.item.dtype)


def tables(p):
    return dict(zip(p.names, p.content, strict=True))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_content", [1, 2, 3])
def test_equals_the_losses_called_one_by_one(problem, same, n_content, missing):
    p = problem(n_content, missing=missing)
    cross = build(p, missing=p.missing, cna_reg_weight=0.3, cna_reduction="param_attn")
    new = cross(p.user, p.item, tables(p), p.users, p.items)
    args = (p.user, p.item, *p.content, p.users, p.items)
    ila = cross.ila(*args, missing=p.missing)
    cla = cross.cla(*args, missing=p.missing)
    cna = cross.cna(p.item, *p.content, p.items, missing=p.missing)
    old = 0.01 * ila + 0.001 * cla + 0.01 * cna
    same(new, old, [p.user, p.item, *p.content, *cross.parameters()])


def test_fettle_is_cross_without_neighbours_and_one_way(problem, same):
    p = problem(2)
    fettle, cross = build(p, "fettle"), build(p, leaky_bi=False, cna_weight=0.0)
    cross.load_state_dict(fettle.state_dict(), strict=False)
    args = (p.user, p.item, tables(p), p.users, p.items)
    same(fettle(*args), cross(*args), [p.user, p.item, *p.content])


def test_terms_are_named_and_sum_to_the_loss(problem):
    p = problem(2)
    args = (p.user, p.item, tables(p), p.users, p.items)
    fettle, cross = build(p, "fettle"), build(p)
    parts = ["ila", "dt", "cla_user_item", "cla_modalities"]
    assert list(fettle.terms(*args)) == parts
    assert list(cross.terms(*args)) == [*parts, "cna", "cna_reg"]
    torch.testing.assert_close(sum(cross.terms(*args).values()), cross(*args))


def test_own_projectors_equal_projected_tables(problem, same):
    p = problem(2)
    features = {name: torch.randn(11, width).double() for name, width in WIDTHS.items()}
    own = build(p, feature_dims=WIDTHS)
    given = build(p)
    given.load_state_dict(own.state_dict(), strict=False)
    projected = {m: Projected(features[m], own.projectors[m]) for m in WIDTHS}
    same(
        own(p.user, p.item, features, p.users, p.items),
        given(p.user, p.item, projected, p.users, p.items),
        [p.user, p.item, *own.projectors.parameters()],
    )


def test_projectors_start_as_documented(problem):
    own = build(problem(2), "fettle", feature_dims=WIDTHS)
    for projector in own.projectors.values():
        assert not projector.bias.any()
        bound = (6 / sum(projector.weight.shape)) ** 0.5
        assert projector.weight.abs().max() <= bound
        assert projector.weight.abs().max() > 0.8 * bound


@pytest.mark.parametrize("name", ["fettle", "cross"])
def test_only_the_rows_of_the_batch_are_read_and_once(problem, name):
    p = problem(2)
    alignment = build(p, name)
    spies = {m: Spy(table) for m, table in tables(p).items()}
    alignment(p.user, p.item, spies, p.users, p.items)
    items = p.items.unique()
    expected = items
    if name == "cross":
        near = p.neighbors[items]
        expected = torch.cat((items, near[near >= 0])).unique()
    for spy in spies.values():
        assert len(spy.asked) == 1
        torch.testing.assert_close(spy.asked[0], expected)


def test_missing_rows_are_not_read(problem):
    p = problem(2, missing=True)
    alignment = build(p, "fettle", missing=p.missing)
    spies = {m: Spy(table) for m, table in tables(p).items()}
    alignment(p.user, p.item, spies, p.users, p.items)
    for name, spy in spies.items():
        assert not p.missing[name][torch.cat(spy.asked)].any()


def test_diagnostics_are_shares_of_the_last_batch(problem):
    p = problem(2)
    fettle = build(p, "fettle")
    assert Alignment(4, p.names).diagnostics() == {}
    fettle(p.user, p.item, tables(p), p.users, p.items)
    state = fettle.diagnostics()
    shares = {k: float(v) for k, v in state.items() if k.startswith("direction/")}
    assert len(shares) == 6
    assert sum(shares.values()) == pytest.approx(3.0)
    assert shares["direction/id_to_text"] + shares["direction/text_to_id"] == pytest.approx(1)
    assert float(state["temperature/ila"]) == pytest.approx(0.1)
    assert float(state["temperature/cla"]) == pytest.approx(0.2)
    assert not any(value.requires_grad for value in state.values())


def test_only_parameters_are_in_the_state(problem):
    """Masks and neighbours belong to the data: they move with the module, unsaved."""
    p = problem(2, missing=True)
    cross = build(p, missing=p.missing)
    assert {name for name, _ in cross.named_parameters()} == set(cross.state_dict())
    buffers = {name for name, _ in cross.named_buffers()}
    assert buffers == {"missing_image", "missing_text", "cna.neighbors", "cna.usable"}


def test_registry_shows_hyper_parameters_only():
    options = ALIGNERS["cross"].options()
    data = {"dim", "modalities", "feature_dims", "missing", "neighbors"}
    assert not data & set(options)
    assert all(option.help for option in options.values())
    assert "cna_weight" not in ALIGNERS["fettle"].options()
    assert CROSS.needs_neighbors
    assert not FETTLE.needs_neighbors


def test_same_seed_same_alignment(problem):
    p = problem(2)
    first, second = build(p).state_dict(), build(p).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_wrong_use_says_what_is_wrong(problem):
    p = problem(2)
    with pytest.raises(ConfigError, match="crossalign neighbors"):
        CROSS(4, p.names)
    with pytest.raises(ConfigError, match="did you mean 'text'"):
        FETTLE(4, p.names, {"texts": 3})
    with pytest.raises(ConfigError, match="no table for modality 'text'"):
        build(p, "fettle")(p.user, p.item, {"image": p.content[0]}, p.users, p.items)
    with pytest.raises(ConfigError, match="called 'id'"):
        FETTLE(4, ("id",))


def test_published_calls_work_verbatim():
    """The lines of the papers' read-me, on plain tables."""
    from crossalign.align import CLALoss, CNALoss, ILALoss

    u_emb, i_emb, v_emb, t_emb = (torch.randn(20, 64).requires_grad_() for _ in range(4))
    user, pos_item = torch.randint(0, 20, (2, 32))
    neighbors = torch.randint(0, 20, (20, 5))
    ila_dt_loss = ILALoss(leaky_bi=True)
    cla_loss = CLALoss(K=128, D=64, gamma=0.2)
    cna_loss = CNALoss(neighbors, cl_temp=0.2, reduction="mean")
    loss = 0.1 * ila_dt_loss(u_emb, i_emb, v_emb, t_emb, user, pos_item)
    loss += 0.1 * cla_loss(u_emb, i_emb, v_emb, t_emb, user, pos_item)
    loss += 0.1 * cna_loss(i_emb, v_emb, t_emb, pos_item)
    loss.backward()
    assert u_emb.grad.any()
    assert CROSS(dim=64, modalities=("image", "text"), neighbors=neighbors).modalities
    assert FETTLE(dim=64, modalities=("image", "text")).modalities


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: CNALoss(torch.zeros(3, 1).long(), cl_temp=-0.2),
            "neighbour-level alignment is -0",
        ),
        (lambda: ILALoss(gamma=0), "temperature of item-level alignment is 0: choose a positive"),
        (lambda: CLALoss(K=8, gamma=float("nan")), "temperature of cluster-level alignment is nan"),
        (lambda: CLALoss(K=0), "number of prototypes is 0: choose at least 1"),
        (lambda: InfoNCELoss(temperature=0), "temperature of InfoNCE is 0"),
        (lambda: ALIGNERS["alignrec"].cls(temperature=-1.0), "temperature of AlignRec's CCA is -1"),
        (lambda: ALIGNERS["bm3"].cls(dropout=1.5), "dropout of BM3's targets is 1.5: choose a"),
    ],
)
def test_values_that_would_turn_a_loss_around_are_refused(build, message):
    """A negative temperature flips the objective; zero divides by it."""
    with pytest.raises(ConfigError, match=message):
        build()


def test_a_constant_temperature_is_used_as_it_is(problem):
    p = problem(2)
    for loss in (
        ILALoss(4, 0.9, learn_temperature=False),
        CLALoss(8, 4, 1.5, learn_temperature=False),
    ):
        loss.double()(p.user, p.item, *p.content, p.users, p.items)
        assert loss.temperature.item() == pytest.approx(0.9 if isinstance(loss, ILALoss) else 1.5)
