"""Compositions: sums of their terms, on schedule, with rows read once and errors in one line."""

import pytest
import torch
import yaml

from crossalign.align import ALIGNERS, FETTLE, Composed, Tables
from crossalign.align.directions import Threshold
from crossalign.align.term_options import Schedule
from crossalign.config import component_options, load_config, parse_config, to_yaml
from crossalign.errors import ConfigError
from crossalign.pipeline import train

WIDTHS = {"image": 9, "text": 5}


def build(p, *terms, **data):
    torch.manual_seed(0)
    if Composed.wants_neighbors({"terms": terms}):
        data.setdefault("neighbors", p.neighbors)
    return Composed(4, p.names, terms=terms, **data).to(p.item.dtype)


def arguments(p):
    return p.user, p.item, dict(zip(p.names, p.content, strict=True)), p.users, p.items


def begin(alignment, epoch, p):
    tables = Tables(*arguments(p)[:3])
    alignment.begin_epoch(epoch, torch.Generator().manual_seed(epoch), lambda: tables)


@pytest.mark.parametrize("missing", [False, True])
def test_equals_its_terms_called_one_by_one(problem, same, missing):
    p = problem(3, missing=missing)
    composed = build(
        p,
        {"name": "ila", "weight": 0.3, "directions": "dynamic"},
        {"name": "cross", "weight": 0.5, "n_prototypes": 6},
        {"name": "infonce", "weight": 0.1},
        missing=p.missing,
    )
    parts = composed.parts
    expected = (
        parts["ila"](*arguments(p))
        + 0.5 * parts["cross"](*arguments(p))
        + parts["infonce"](*arguments(p))
    )
    assert (parts["ila"].weight, parts["infonce"].weight) == (0.3, 0.1)
    learnt = [x for x in composed.parameters() if x.requires_grad]
    same(composed(*arguments(p)), expected, [p.user, p.item, *p.content, *learnt])


def test_the_default_is_fettle(problem, same):
    p = problem(2)
    composed, fettle = build(p, {"name": "ila"}, {"name": "cla"}), FETTLE(4, p.names).double()
    assert build(p, *ALIGNERS["composed"].options()["terms"].default).parts.keys() == {"ila", "cla"}
    state = {f"parts.{name.split('.')[0]}.{name}": x for name, x in fettle.state_dict().items()}
    composed.load_state_dict(state)
    same(composed(*arguments(p)), fettle(*arguments(p)), [p.user, p.item, *p.content])


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"dt_weight": 0.0, "cla_weight": 0.0}, {"ila"}),
        ({"ila_weight": 0.0, "dt_weight": 0.02, "cla_weight": 0.0}, {"dt"}),
        ({"ila_weight": 0.0}, {"cla_user_item", "cla_modalities"}),
        ({"dt_weight": 0.0}, {"ila", "cla_user_item", "cla_modalities"}),
        ({}, {"ila", "dt", "cla_user_item", "cla_modalities"}),
    ],
    ids=["+ILA", "+DT", "+CLA", "+ILA&CLA", "FETTLE"],
)
def test_the_rows_of_table_3_are_configurations(problem, options, kept):
    """What is left has the value it has in the whole, but for its weight."""
    p = problem(2)
    torch.manual_seed(0)
    fettle = FETTLE(4, p.names, n_prototypes=6, **options).double()
    torch.manual_seed(0)
    whole = FETTLE(4, p.names, n_prototypes=6, dt_weight=options.get("dt_weight") or None).double()
    terms, all_terms = fettle.terms(*arguments(p)), whole.terms(*arguments(p))
    assert set(terms) == kept
    for name in kept:
        torch.testing.assert_close(terms[name], all_terms[name])


def test_projectors_are_shared_and_every_row_is_read_once(problem):
    p = problem(2)
    asked = []

    class Spy(torch.nn.Module):
        def __init__(self, table):
            super().__init__()
            self.table = table

        def __getitem__(self, rows):
            asked.append(rows)
            return self.table[rows]

    composed = build(
        p, {"name": "ila"}, {"name": "cna"}, {"name": "bm3"}, {"name": "infonce"},
        feature_dims=WIDTHS,
    )  # fmt: skip
    features = {m: Spy(torch.randn(11, width).double()) for m, width in WIDTHS.items()}
    composed(p.user, p.item, features, p.users, p.items).backward()
    near = p.neighbors[p.items.unique()]
    expected = torch.cat((p.items, near[near >= 0])).unique()
    assert [rows.tolist() for rows in asked] == [expected.tolist()] * 2
    names = [name for name, _ in composed.named_parameters() if "projectors" in name]
    assert names == [f"projectors.{m}.{kind}" for m in WIDTHS for kind in ("weight", "bias")]
    assert all(x.grad is not None for x in composed.projectors.parameters())


def test_schedule_by_hand():
    assert [Schedule().factor(e) for e in (1, 2)] == [1, 1]
    assert [Schedule(start=3).factor(e) for e in (1, 2, 3, 4)] == [0, 0, 1, 1]
    assert [Schedule(2, 4).factor(e) for e in range(1, 8)] == [0, 0.25, 0.5, 0.75, 1, 1, 1]
    with pytest.raises(ConfigError, match="start of a term is 0"):
        Schedule(start=0)
    with pytest.raises(ConfigError, match="ramp of a term is -1"):
        Schedule(ramp=-1)


def test_terms_follow_their_schedule(problem):
    p = problem(2)
    composed = build(
        p, {"name": "ila", "ramp": 4}, {"name": "cna", "start": 3}, {"name": "bm3", "start": 99}
    )
    full = {}
    for epoch in (5, 4, 3, 2, 1):  # the number of the epoch is all that counts
        begin(composed, epoch, p)
        terms = composed.terms(*arguments(p))
        assert ("cna/cna" in terms) == (epoch >= 3)
        full = full or terms
        for name in ("ila/ila", "ila/dt"):
            torch.testing.assert_close(terms[name], min(epoch / 4, 1) * full[name])
        if epoch < 3:
            assert composed.reach(p.items.unique()).tolist() == p.items.unique().tolist()
    composed.zero_grad()
    composed(*arguments(p)).backward()
    idle = {name.split(".")[1] for name, x in composed.named_parameters() if x.grad is None}
    assert idle == {"cna", "bm3"}


def test_a_name_may_come_twice(problem):
    p = problem(2)
    composed = build(p, {"name": "ila"}, {"name": "ila", "directions": "random", "weight": 0.5})
    assert set(composed.terms(*arguments(p))) == {"ila/ila", "ila/dt", "ila2/ila", "ila2/dt"}
    shown = composed.diagnostics()
    assert {"direction/id_to_text", "direction/id_to_text/ila2", "temperature/ila"} <= set(shown)


def test_the_policy_is_that_of_the_first_term_that_has_one(problem):
    p = problem(2)
    rule = build(p, {"name": "bm3"}, {"name": "ila", "directions": "threshold"}).policy
    assert isinstance(rule, Threshold)
    assert build(p, {"name": "bm3"}).policy is None


def test_neighbours_are_asked_for_only_by_terms_that_need_them():
    wants = Composed.wants_neighbors
    assert not wants({})
    assert not wants({"terms": ({"name": "ila"},)})
    assert wants({"terms": ({"name": "ila"}, {"name": "cna"})})
    assert wants({"terms": ({"name": "composed", "terms": ({"name": "cross"},)},)})


def checked(terms):
    """The options of `composed` as a configuration hands them over."""
    return component_options("alignment", ALIGNERS["composed"], {"terms": terms})


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "has no terms"),
        ([{"weight": 1}], "has no name"),
        ([{"name": "illa"}], "did you mean 'ila'"),
        ([{"name": "ila", "wieght": 1}], "unknown option of term 'ila' 'wieght': did you mean"),
        (
            [{"name": "ila", "ramp": "slow"}],
            r"terms\.ila\.ramp' is 'slow': input should be a valid int",
        ),
        ([{"name": "ila", "ramp": 1.5}], "a valid integer"),
        ([{"name": "ila", "weight": [1]}], "a valid number"),
        ([{"name": "bm3", "symmetric": 3}], "a valid boolean"),
        ([{"name": "ila", "dt_weight": "x"}], "a valid number"),
        ([{"name": "ila", "directions": "up"}], "'one_way', 'dynamic'"),
        ([{"name": "ila", "start": 0}], "from 1 on"),
        ([{"name": "cna"}], "needs neighbors"),
    ],
)
def test_wrong_terms_are_refused_in_one_line(terms, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Composed(4, **checked(terms))
    assert "\n" not in str(caught.value)


def test_numbers_may_be_text_as_yaml_makes_them(problem):
    p = problem(2)
    written = yaml.safe_load("{name: ila, weight: 1e-2, dt_weight: null, ramp: 3}")
    assert written["weight"] == "1e-2"
    part = build(p, *checked([written])["terms"]).parts["ila"]
    assert (part.weight, part.dt_weight) == (0.01, None)
    inner = {"name": "composed", "terms": [written]}
    assert checked([inner])["terms"][0]["terms"][0]["weight"] == 0.01


TEXT = """
alignment:
  name: composed
  terms:
    - {name: ila, weight: 0.01, directions: dynamic, spread_decay: 0.5, ramp: 3}
    - {name: cla, n_prototypes: 16, codes: kmeans}
    - {name: cna, weight: 0.01, start: 2}
    - {name: infonce, weight: 0.1}
"""


def config(*overrides):
    raw = yaml.safe_load(TEXT)
    raw["data"] = {"planted_users": 150, "planted_items": 100}
    raw["training"] = {"epochs": 4}
    return parse_config({**raw, **dict(overrides)})


def test_the_configuration_survives_its_file(tmp_path):
    written = tmp_path / "config.yaml"
    written.write_text(to_yaml(config()))
    assert load_config(written) == config()


def test_a_resumed_run_has_the_schedule_and_the_codes_of_a_whole_one(tmp_path):
    short = ("training", {"epochs": 2})
    train(config(), tmp_path / "whole", progress=False)
    train(config(short), tmp_path / "parts", progress=False)
    train(config(), tmp_path / "parts", resume=True, progress=False)
    histories = [(tmp_path / run / "history.jsonl").read_bytes() for run in ("whole", "parts")]
    assert histories[0] == histories[1]
    assert histories[0].count(b'loss/align/cna/cna"') == 3
