"""What FREEDOM does beyond the golden vectors: its draws of edges and the weights of its graphs."""

from __future__ import annotations

import pytest
import torch

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError


def test_it_draws_other_edges_each_epoch_and_the_same_for_a_seed(
    checkerboard: Dataset, registered
) -> None:
    backbone = registered("freedom", checkerboard, dropout=0.5)
    draws = []
    for seed in (0, 0, 1):
        backbone.begin_epoch(torch.Generator().manual_seed(seed))
        draws.append(backbone.propagation.pruned.to_user.indices.clone())
    assert len(draws[0]) == int(checkerboard.train.shape[1] * 0.5)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_it_prefers_edges_between_unpopular_nodes(registered) -> None:
    """Edges are kept with probability falling in the degrees of their ends (eq. 1)."""
    hub = torch.cat([torch.arange(20), torch.arange(20)])
    items = torch.cat([torch.zeros(20, dtype=torch.int64), torch.arange(20) % 19 + 1])
    held_out = torch.tensor([[0], [5]])
    features = {"shape": torch.randn(20, 4)}
    data = Dataset("hub", 20, 20, torch.stack([hub, items]), held_out, held_out, features)
    backbone = registered("freedom", data, dropout=0.5)
    kept_hub = 0
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        backbone.begin_epoch(rng)
        kept_hub += int((backbone.propagation.pruned.to_user.indices == 0).sum())
    assert kept_hub < 0.4 * 50 * 20


def test_weights_for_other_modalities_are_refused(checkerboard: Dataset, registered) -> None:
    with pytest.raises(ConfigError, match="modality_weights"):
        registered("freedom", checkerboard, modality_weights={"image": 0.1, "text": 0.9})


def test_the_item_graphs_are_weighed(checkerboard: Dataset, registered) -> None:
    weights = {"shape": 1.0, "sound": 0.0}
    one_sided = registered("freedom", checkerboard, modality_weights=weights)
    x = torch.randn(checkerboard.n_items, 16)
    expected = one_sided.item_graphs["shape"](x)
    torch.testing.assert_close(one_sided._propagate_items(x), expected)
