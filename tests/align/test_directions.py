"""Scores and directions of a whole catalogue."""

import pytest
import torch

from crossalign.align import Catalogue, ILALoss, Tables, alignment_directions
from crossalign.align.directions import Dynamic, OneWay, RandomWay


def tables(p):
    return Tables(p.user, p.item, dict(zip(p.names, p.content, strict=True)))


@pytest.mark.parametrize("chunk", [2, 65536])
def test_scores_equal_the_published_form_for_any_chunk(published, problem, chunk):
    p = problem(2, n_pairs=30)
    scores = Catalogue(tables(p), p.users, p.items, chunk=chunk).scores()
    bought = p.items.unique()
    for row, table in zip(scores, (p.item, *p.content), strict=True):
        expected = published.item_scores(p.user, table, p.users, p.items).detach()
        torch.testing.assert_close(row[bought], expected)
        assert row.isnan().sum() == len(p.item) - len(bought)


@pytest.mark.parametrize("policy", [None, OneWay(), Dynamic(3)])
def test_directions_follow_the_rule_on_all_items(problem, policy):
    p = problem(2, n_pairs=20)
    args = (tables(p), p.users, p.items)
    directions = alignment_directions(*args, policy)
    bought = p.items.unique()
    scores = Catalogue(*args).scores()[:, bought]
    expected = (policy or OneWay())(scores)
    names = ("id", *p.names)
    assert len(directions) == 6
    for s, source in enumerate(names):
        for t, target in enumerate(names):
            if s != t:
                active = directions[f"{source}_to_{target}"]
                torch.testing.assert_close(active[bought], expected[s, t])
                assert active.sum() == active[bought].sum(), "nothing without feedback"


@pytest.mark.parametrize("chunk", [3, 65536])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("spread_over", ["batch", "users"])
@pytest.mark.parametrize("feedback", ["cosine", "inner_product"])
def test_directions_are_those_of_a_batch_of_all_pairs(
    problem, feedback, spread_over, missing, chunk
):
    p = problem(2, n_pairs=40, missing=missing)
    ila = ILALoss(4, 0.1, True, p.names, feedback=feedback, spread_over=spread_over).double()
    ila(p.user, p.item, *p.content, p.users, p.items, missing=p.missing)
    args = (tables(p), p.users, p.items, ila.policy)
    found = alignment_directions(*args, missing=p.missing, chunk=chunk)
    shares = ila.diagnostics()
    for name, active in found.items():
        assert active.sum() / len(p.items.unique()) == shares[f"direction/{name}"], name


def test_missing_rows_have_no_score_and_no_direction(problem):
    p = problem(2, missing=True, n_pairs=30)
    args = (tables(p), p.users, p.items)
    scores = Catalogue(*args, p.missing).scores()
    assert scores[1, p.missing["image"]].isnan().all()
    for name, active in alignment_directions(*args, Dynamic(3), missing=p.missing).items():
        for modality in p.names:
            if modality in name:
                assert not active[p.missing[modality]].any()


def test_a_rule_that_draws_follows_the_generator(problem):
    p = problem(2, n_pairs=30)
    drawn = []
    for seed in (0, 0, 1):
        generator = torch.Generator().manual_seed(seed)
        args = (tables(p), p.users, p.items, RandomWay())
        directions = alignment_directions(*args, generator=generator)
        drawn.append(torch.stack(list(directions.values())))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_rule_that_remembers_is_not_changed_by_looking(problem):
    p = problem(2)
    policy = Dynamic(3, decay=0.5)
    policy(torch.rand(3, 11))  # a batch
    before = policy.average.clone()
    alignment_directions(tables(p), p.users, p.items, policy)
    assert torch.equal(policy.average, before)
    assert policy.training


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_tables_of_16_bits_are_read(problem, kind):
    p = problem(2)
    user, item, *content = (table.to(kind) for table in (p.user, p.item, *p.content))
    narrow = Tables(user, item, dict(zip(p.names, content, strict=True)))
    scores = Catalogue(narrow, p.users, p.items).scores()
    exact = Catalogue(tables(p), p.users, p.items).scores()
    torch.testing.assert_close(scores.double(), exact.double(), rtol=0, atol=0.02, equal_nan=True)
