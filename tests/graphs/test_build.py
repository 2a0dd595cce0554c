"""The heterograph: what its edges mean, and a cache that is never stale."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest
import torch

from crossalign.datasets import planted
from crossalign.datasets.dataset import ItemGraph
from crossalign.errors import ConfigError
from crossalign.graphs import (
    GraphOptions,
    build_graph,
    cooccurrence_neighbors,
    dataset_hash,
    feature_knn,
)

ALL = ("interacts", "interacted_by", "similar", "unified", "cooccurs", "user_cooccurs")
OPTIONS = GraphOptions(knn_k=3, cooccur_k=4)


def edge_set(graph, etype):
    return set(zip(*(ends.tolist() for ends in graph.edges(etype=etype)), strict=True))


def assert_same_graph(a, b):
    assert a.canonical_etypes == b.canonical_etypes
    for etype in a.canonical_etypes:
        for mine, other in zip(a.edges(etype=etype), b.edges(etype=etype), strict=True):
            assert torch.equal(mine, other)
        assert a.edges[etype].data.keys() == b.edges[etype].data.keys()
        for name, value in a.edges[etype].data.items():
            assert torch.equal(value, b.edges[etype].data[name])


def test_interactions_run_both_ways_and_degrees_are_kept(small_dataset):
    graph = build_graph(small_dataset)
    pairs = {tuple(pair) for pair in small_dataset.train.T.tolist()}
    assert edge_set(graph, ("user", "interacts", "item")) == pairs
    assert edge_set(graph, ("item", "interacted_by", "user")) == {(i, u) for u, i in pairs}
    assert (graph.num_nodes("user"), graph.num_nodes("item")) == (30, 20)
    assert torch.equal(graph.nodes["item"].data["degree"], graph.in_degrees(etype="interacts"))
    assert torch.equal(graph.nodes["user"].data["degree"], graph.in_degrees(etype="interacted_by"))


def test_similar_edges_run_from_neighbour_to_item(small_dataset):
    graph = build_graph(small_dataset, OPTIONS, relations=("similar",))
    ids, cosine = feature_knn(small_dataset.features["text"], 3)
    assert edge_set(graph, "similar_text") == {
        (int(j), i) for i, row in enumerate(ids) for j in row
    }
    assert (graph.in_degrees(etype="similar_text") == 3).all()
    neighbor, item = graph.edges(etype="similar_text")
    assert torch.equal(graph.edges["similar_text"].data["weight"], cosine.flatten())
    assert torch.equal(neighbor, ids.flatten())
    assert torch.equal(item, torch.arange(20).repeat_interleave(3))


def test_items_without_features_have_no_similar_edges(small_dataset):
    graph = build_graph(small_dataset, OPTIONS, relations=("similar",))
    assert graph.in_degrees(3, etype="similar_image") == 0
    assert graph.out_degrees(3, etype="similar_image") == 0
    assert graph.in_degrees(4, etype="similar_image") == 3


def test_unified_edges_follow_the_mean_cosine_of_all_modalities(small_dataset):
    """Unit rows side by side; item 3 lacks its image and counts with its text alone."""
    graph = build_graph(small_dataset, OPTIONS, relations=("unified",))
    edges = edge_set(graph, "unified")
    unit = [[row / max(row.norm(), 1e-12) for row in x] for x in small_dataset.features.values()]
    n_views = [2 - int(i == 3) for i in range(20)]
    for i in range(20):
        cosine = {
            j: sum(float(rows[i] @ rows[j]) for rows in unit) / (n_views[i] * n_views[j]) ** 0.5
            for j in range(20)
        }
        best = sorted(cosine, key=lambda j: -cosine[j])[:3]
        assert {j for j, item in edges if item == i} == set(best)


def test_one_modality_is_unified_by_itself(small_dataset):
    image = {"image": small_dataset.features["image"]}
    alone = dataclasses.replace(small_dataset, features=image)
    graph = build_graph(alone, OPTIONS, relations=("similar", "unified"))
    assert edge_set(graph, "unified") == edge_set(graph, "similar_image")


def test_cooccurrence_edges_carry_counts(small_dataset):
    graph = build_graph(small_dataset, OPTIONS, relations=("cooccurs", "user_cooccurs"))
    found = cooccurrence_neighbors(small_dataset.train, 30, 20, 4)
    etype = ("item", "cooccurs", "item")
    assert edge_set(graph, etype) == {
        (int(j), i) for i, row in enumerate(found.ids) for j in row if j >= 0
    }
    assert graph.edges[etype].data["weight"].sum() == found.counts.sum()
    by_user = cooccurrence_neighbors(small_dataset.train.flip(0), 20, 30, 4)
    assert graph.num_edges(("user", "cooccurs", "user")) == int((by_user.ids >= 0).sum())


def test_users_have_forty_neighbours_unless_said_otherwise(small_dataset):
    default, forty = (
        build_graph(small_dataset, options, relations=("user_cooccurs",))
        for options in (GraphOptions(), GraphOptions(cooccur_k=40))
    )
    assert_same_graph(default, forty)


def test_ready_graphs_are_preferred_and_cut_to_k(small_dataset, caplog):
    """Two neighbours are asked for, the ready graph has three: the most similar stay."""
    edges = torch.tensor([[0, 0, 0, 1], [5, 0, 6, 7]])
    ready = ItemGraph(edges, torch.tensor([0.2, 1.0, 0.8, 0.5]))
    dataset = dataclasses.replace(small_dataset, item_graphs={"image": ready})
    graph = build_graph(dataset, GraphOptions(knn_k=2), relations=("similar",))
    assert edge_set(graph, "similar_image") == {(0, 0), (6, 0), (7, 1)}
    options = GraphOptions(knn_k=2, knn_self=False)
    graph = build_graph(dataset, options, relations=("similar",))
    assert edge_set(graph, "similar_image") == {(6, 0), (5, 0), (7, 1)}
    weight = graph.edges["similar_image"].data["weight"]
    torch.testing.assert_close(weight, torch.tensor([0.8, 0.2, 0.5]))
    assert not caplog.records
    build_graph(dataset, GraphOptions(knn_k=9), relations=("similar",))
    assert "knn_k=9 has no effect" in caplog.text


def test_what_cannot_be_built_is_said_in_one_line(small_dataset):
    bare = dataclasses.replace(small_dataset, features={}, missing={})
    for dataset, relations, message in (
        (bare, ("similar",), "neither features nor ready item graphs"),
        (bare, ("unified",), "relation 'unified' needs"),
        (bare, ("interests",), "relation 'interests' needs"),
        (bare, ("interact",), "did you mean 'interacts'"),
        (bare, (), "at least one relation"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            build_graph(dataset, relations=relations)
        assert "\n" not in str(caught.value)
    for options in ({"knn_k": 0}, {"cooccur_k": -1}, {"memory_mib": 0}, {"knn_search": "exat"}):
        with pytest.raises(ConfigError):
            GraphOptions(**options)


def test_cache_returns_the_same_graph_without_building(small_dataset, tmp_path, monkeypatch):
    first = build_graph(small_dataset, OPTIONS, relations=ALL, cache_dir=tmp_path)
    monkeypatch.setattr("crossalign.graphs.build._build", lambda *_: pytest.fail("built again"))
    second = build_graph(small_dataset, OPTIONS, relations=ALL, cache_dir=tmp_path)
    assert_same_graph(first, second)
    assert torch.equal(first.nodes["item"].data["degree"], second.nodes["item"].data["degree"])


def test_other_data_options_or_relations_are_not_mixed_up(small_dataset, tmp_path):
    changed = {**small_dataset.features, "text": small_dataset.features["text"] * 2}
    variants = (
        (small_dataset, OPTIONS, ALL),
        (small_dataset, GraphOptions(knn_k=4, cooccur_k=4), ALL),
        (small_dataset, OPTIONS, ALL[:2]),
        (dataclasses.replace(small_dataset, features=changed), OPTIONS, ALL),
        (dataclasses.replace(small_dataset, train=small_dataset.train[:, :-1]), OPTIONS, ALL),
    )
    for dataset, options, relations in variants:
        cached = build_graph(dataset, options, relations=relations, cache_dir=tmp_path)
        assert_same_graph(cached, build_graph(dataset, options, relations=relations))
    assert len(list(tmp_path.glob("graph-*.dgl"))) == len(variants)


@pytest.mark.parametrize("damage", ["truncate", "flip", "no json", "bad json", "no graph"])
def test_damaged_cache_files_are_rebuilt_with_a_warning(small_dataset, tmp_path, caplog, damage):
    expected = build_graph(small_dataset, OPTIONS, relations=ALL, cache_dir=tmp_path)
    (stored,), (about,) = tmp_path.glob("*.dgl"), tmp_path.glob("*.json")
    content = stored.read_bytes()
    if damage == "truncate":
        stored.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        stored.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif damage == "no graph":
        stored.unlink()
    elif damage == "no json":
        about.unlink()
    else:
        about.write_text("{")
    with caplog.at_level(logging.WARNING):
        graph = build_graph(small_dataset, OPTIONS, relations=ALL, cache_dir=tmp_path)
    assert_same_graph(graph, expected)
    assert "is damaged" in caplog.text
    caplog.clear()
    build_graph(small_dataset, OPTIONS, relations=ALL, cache_dir=tmp_path)
    assert not caplog.records
    assert json.loads(about.read_text())["data"] == dataset_hash(small_dataset)


def test_hash_depends_on_content_only(small_dataset):
    same = dataclasses.replace(small_dataset, name="other", notes=("a",))
    assert dataset_hash(same) == dataset_hash(small_dataset)
    text = small_dataset.features["text"].clone()
    text[0, 0] += 1e-3
    for change in (
        {"n_users": 31},
        {"valid": small_dataset.valid[:, 1:]},
        {"missing": {}},
        {"features": {**small_dataset.features, "text": text}},
    ):
        other = dataclasses.replace(small_dataset, **change)
        assert dataset_hash(other) != dataset_hash(small_dataset)


def test_real_features_give_the_published_neighbours(data_root):
    """The reconstructed features of Baby keep the published graphs' neighbourhoods."""
    for modality, least in (("image", 0.985), ("text", 0.999)):
        features = torch.from_numpy(np.load(data_root / "baby" / f"{modality}_feat.npy"))
        ids, _ = feature_knn(features, 10)
        with np.load(data_root / "baby" / f"{modality}_knn10_cos.npz") as file:
            published = set(zip(file["row"].tolist(), file["col"].tolist(), strict=True))
        mine = {(i, int(j)) for i, row in enumerate(ids) for j in row}
        assert len(mine & published) / len(published) >= least


def test_graphs_are_the_same_under_another_default_type() -> None:
    """Weights are float32 whatever torch's default is, and more neighbours than items are none."""
    data = planted(n_users=20, n_items=20)
    options = GraphOptions(knn_k=10**9, cooccur_k=10**9)
    relations = ("similar", "cooccurs")
    wanted = build_graph(data, options, relations=relations)
    torch.set_default_dtype(torch.float64)
    try:
        found = build_graph(data, options, relations=relations)
    finally:
        torch.set_default_dtype(torch.float32)
    for etype in wanted.canonical_etypes:
        assert torch.equal(found.edges[etype].data["weight"], wanted.edges[etype].data["weight"])
        assert found.edges[etype].data["weight"].dtype == torch.float32
