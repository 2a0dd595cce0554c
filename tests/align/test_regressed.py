"""Regressed-neighbour alignment: the neighbour-level contrast in the item representation alone."""

from __future__ import annotations

import pytest
import torch

from crossalign.align import ALIGNERS, Composed, RegressedNeighborAlignment, RNALoss
from crossalign.errors import ConfigError


def unit(x):
    return x / x.norm()


@pytest.mark.parametrize("missing", [False, True])
def test_equals_a_loop_over_items(problem, same, missing):
    """Whatever content is missing: none is read."""
    p = problem(2, missing=missing, seed=3)
    means = {}
    items = sorted(set(p.items.tolist()))
    for i in items:
        near = [j for j in p.neighbors[i].tolist() if j >= 0] or [i]
        means[i] = unit(sum(unit(p.item[j]) for j in near) / len(near))
    expected = p.item.sum() * 0
    for i in items:
        logits = torch.stack([unit(p.item[i]) @ means[j] for j in items]) / 0.3
        expected = expected + (logits.logsumexp(0) - logits[items.index(i)]) / len(items)
    loss = RNALoss(p.neighbors, 0.3, modalities=p.names)
    terms = loss.terms(p.item, *p.content, p.items, missing=p.missing)
    assert list(terms) == ["rna"]
    same(terms["rna"], expected, [p.item])


def test_content_is_not_read(problem):
    """It acts through the neighbours alone: what stands in its tables changes nothing."""
    p = problem(2)

    alignment = RegressedNeighborAlignment(p.item.shape[1], p.names, neighbors=p.neighbors)
    tables = dict.fromkeys(p.names, torch.full_like(p.content[0], torch.nan))
    value = alignment(p.user, p.item, tables, p.users, p.items)
    assert value.isfinite()


def test_it_is_given_regressed_neighbours_and_others_are_not():
    assert ALIGNERS["rna"].cls.wants_neighbors({}) == "regression"
    assert ALIGNERS["cross"].cls.wants_neighbors({}) == "cooccurrence"
    assert ALIGNERS["ila"].cls.wants_neighbors({}) is None


def test_terms_that_want_different_neighbours_are_refused():
    """One table serves a run, and neither term would do what it says on the other's."""
    assert Composed.wants_neighbors({"terms": ({"name": "rna"}, {"name": "ila"})}) == "regression"
    with pytest.raises(ConfigError, match="'cna' by cooccurrence and 'rna' by regression"):
        Composed.wants_neighbors({"terms": ({"name": "cna"}, {"name": "rna"})})
