"""K-means codes against loops, and what an epoch may and may not change."""

import math
import sys

import pytest
import torch
from torch.nn.functional import normalize

from crossalign.align import ALIGNERS, CLALoss, Projected
from crossalign.align.codes import fit_centroids, nearest
from crossalign.errors import ConfigError, CrossalignError
from crossalign.tensors.tables import Tables

pytest.importorskip("faiss")


def loop_cla(p, cla):
    """Both terms pair by pair: the code of the other view, at one centroid or over all."""
    unit = torch.nn.functional.normalize

    def cell(target, predictor, centroids, prototypes):
        """Cross-entropy of predicting the cluster of one row from another one."""
        cosines = [float(c @ target.detach()) for c in centroids]
        masses = [float(s == max(cosines)) for s in cosines]
        if cla.code_temperature:
            masses = [math.exp(s / cla.code_temperature) for s in cosines]
        logits = torch.stack([c @ predictor for c in prototypes]) / cla.temperature
        shares = zip(masses, logits, strict=True)
        return logits.logsumexp(0) - sum(q * logit for q, logit in shares) / sum(masses)

    def mean(found):
        return sum(found) / len(found) if found else 0.0

    pairs = list(zip(p.users.tolist(), p.items.tolist(), strict=True))
    user, item = unit(p.user), unit(p.item)
    books = cla.centroids_user_item, cla.prototypes_user_item
    user_item = mean([cell(user[u], item[i], *books) for u, i in pairs])
    user_item = user_item + mean([cell(item[i], user[u], *books) for u, i in pairs])
    tables = [item, *(unit(table) for table in p.content)]
    masks = [None] + [(p.missing or {}).get(m) for m in p.names]
    books = cla.centroids_modalities, cla.prototypes_modalities
    modalities = 0.0
    for a, gap_a in zip(tables, masks, strict=True):
        for b, gap_b in zip(tables, masks, strict=True):
            if a is b:
                continue
            both = [i for _, i in pairs if not any(g is not None and g[i] for g in (gap_a, gap_b))]
            modalities = modalities + mean([cell(a[i], b[i], *books) for i in both])
    return user_item / 2, modalities / (len(tables) * (len(tables) - 1))


def fitted(p, k=5, seed=0, **options):
    torch.manual_seed(0)
    cla = CLALoss(k, 4, 0.3, p.names, codes="kmeans", **options).to(p.item.dtype)
    rng = torch.Generator().manual_seed(seed)
    cla.fit_codes(p.user, p.item, p.content, rng, p.missing)
    return cla


@pytest.mark.parametrize("code_temperature", [0.0, 0.4])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("n_content", [1, 3])
def test_equals_a_loop(problem, same, n_content, missing, code_temperature):
    p = problem(n_content, missing=missing, seed=n_content)
    cla = fitted(p, K_user_item=3, code_temperature=code_temperature)
    args = (p.user, p.item, *p.content, p.users, p.items)
    terms = cla.terms(*args, missing=p.missing)
    user_item, modalities = loop_cla(p, cla)
    tensors = [p.user, p.item, *p.content, *cla.parameters()]
    same(terms["cla_user_item"], user_item, tensors)
    same(terms["cla_modalities"], modalities, tensors)


def test_soft_codes_reach_the_nearest_centroid_in_the_limit(problem):
    p = problem(2)
    args = (p.user, p.item, *p.content, p.users, p.items)
    hard, sharp, flat = (fitted(p, code_temperature=t)(*args) for t in (0.0, 1e-6, 1e6))
    torch.testing.assert_close(sharp, hard)
    assert not torch.isclose(flat, hard)


def test_soft_codes_of_many_blocks_equal_those_of_one(problem, monkeypatch):
    p = problem(2, n_pairs=30)
    args = (p.user, p.item, *p.content, p.users, p.items)
    whole = fitted(p, code_temperature=0.3)(*args)
    monkeypatch.setattr("crossalign.tensors.functional._CELLS", {"cpu": 8})
    torch.testing.assert_close(fitted(p, code_temperature=0.3)(*args), whole)


def test_centroids_are_a_fixed_point_of_lloyds_steps():
    """Every centroid is the direction of the mean of the rows that are nearest to it."""
    rows = normalize(torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    centroids = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    for seed in range(3):  # each call goes on from the last
        centroids = fit_centroids([rows], centroids, torch.Generator().manual_seed(seed))
    cluster = nearest(rows, centroids)
    for k in range(3):
        expected = normalize(rows[cluster == k].mean(0), dim=0)
        torch.testing.assert_close(centroids[k], expected, atol=1e-5, rtol=1e-5)


def test_centroids_keep_the_numbering_of_the_prototypes():
    """Clear clusters, prototypes near them in some order: each finds its own."""
    centres = torch.eye(4)[[2, 0, 3, 1]]
    rng = torch.Generator().manual_seed(0)
    rows = centres.repeat(10, 1) + 0.05 * torch.randn(40, 4, generator=rng)
    rows = rows / rows.norm(dim=1, keepdim=True)
    prototypes = centres + 0.3 * torch.randn(4, 4, generator=rng)
    found = fit_centroids([rows[:7], rows[7:]], prototypes, rng)
    assert ((found * centres).sum(1) > 0.99).all()


def test_nearest_is_the_largest_cosine():
    rows, centroids = (normalize(torch.randn(n, 4), dim=1) for n in (30, 7))
    expected = [max(range(7), key=lambda k: float(centroids[k] @ row)) for row in rows]
    assert nearest(rows, centroids).tolist() == expected
    assert nearest(rows[:0], centroids).shape == (0,)


def test_the_rows_that_are_clustered_are_all_present_ones(problem, monkeypatch):
    p = problem(2, missing=True)
    given = []

    def record(rows, prototypes, rng):
        given.append(torch.cat(list(rows)))
        return prototypes.detach()

    monkeypatch.setattr("crossalign.align.cluster.fit_centroids", record)
    fitted(p)
    torch.testing.assert_close(given[0], normalize(torch.cat((p.user, p.item)).detach(), dim=1))
    kept = [p.content[k][~p.missing[m]] for k, m in enumerate(p.names)]
    torch.testing.assert_close(given[1], normalize(torch.cat((p.item, *kept)).detach(), dim=1))


def test_two_calls_before_one_backward(problem):
    p = problem(2)
    cla = fitted(p)
    args = (p.user, p.item, *p.content, p.users, p.items)
    (cla(*args) + cla(*args)).backward()
    twice = cla.temperature.grad.clone()
    cla.zero_grad()
    cla(*args).backward()
    torch.testing.assert_close(twice, 2 * cla.temperature.grad)


def test_centroids_are_constants_of_the_epoch_and_not_saved(problem):
    p = problem(2)
    cla = fitted(p)
    before = cla.centroids_modalities.clone()
    cla(p.user, p.item, *p.content, p.users, p.items).backward()
    assert torch.equal(cla.centroids_modalities, before)
    assert not cla.centroids_modalities.requires_grad
    assert set(cla.state_dict()) == set(dict(cla.named_parameters()))
    again = fitted(p)
    assert torch.equal(again.centroids_modalities, before), "same seed, same centroids"


@pytest.mark.parametrize("name", ["fettle", "cross", "cla", "composed"])
def test_an_alignment_finds_them_when_an_epoch_begins(problem, name):
    """Content that the alignment projects itself is clustered as it is projected."""
    p = problem(2)
    options = {"codes": "kmeans", "n_prototypes": 5}
    if name == "cross":
        options["neighbors"] = p.neighbors
    if name == "composed":
        options = {"terms": ({"name": "cla", **options},)}
    widths = {"image": 9, "text": 5}
    features = {m: torch.randn(11, width).double() for m, width in widths.items()}
    torch.manual_seed(0)
    alignment = ALIGNERS[name].cls(4, p.names, widths, **options).double()
    args = (p.user, p.item, features, p.users, p.items)
    with pytest.raises(ConfigError, match="begin_epoch"):
        alignment(*args)
    cla = alignment.parts["cla"].cla if name == "composed" else alignment.cla
    projected = [Projected(features[m], alignment.projectors[m]) for m in widths]
    twin = CLALoss(5, 4, codes="kmeans").double()
    twin.load_state_dict(cla.state_dict())
    twin.fit_codes(p.user, p.item, projected, torch.Generator().manual_seed(3))
    tables = Tables(p.user, p.item, features)
    alignment.begin_epoch(1, torch.Generator().manual_seed(3), lambda: tables)
    torch.testing.assert_close(cla.centroids_modalities, twin.centroids_modalities)
    torch.testing.assert_close(cla.centroids_user_item, twin.centroids_user_item)
    assert alignment(*args).isfinite()


def test_sinkhorn_asks_for_no_tables(problem):
    p = problem(2)
    alignment = ALIGNERS["fettle"].cls(4, p.names, n_prototypes=5)

    def refuse():
        raise AssertionError("a forward pass for nothing")

    alignment.begin_epoch(1, torch.Generator(), refuse)
    assert alignment.cla.centroids_modalities is None


def test_wrong_use_says_what_is_wrong(problem, monkeypatch):
    p = problem(2)
    with pytest.raises(ConfigError, match="lower n_prototypes to 18"):
        fitted(p, k=19)
    with pytest.raises(ConfigError, match="did you mean 'kmeans'"):
        CLALoss(5, 4, codes="kmean")
    for wrong in ({"code_temperature": 0.1}, {"code_temperature": -1.0, "codes": "kmeans"}):
        with pytest.raises(ConfigError, match="choose a positive number with codes 'kmeans'"):
            CLALoss(5, 4, **wrong)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(CrossalignError, match="install faiss-cpu"):
        fitted(p)
