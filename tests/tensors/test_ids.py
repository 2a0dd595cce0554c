"""Ids that the host knows, and ids that it does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crossalign.tensors.ids import HostIds, Repeated, joined, part_of, sorted_ids

CPU = torch.device("cpu")


def test_ids_that_the_host_knows_are_ordinary_ids() -> None:
    host = torch.tensor([3, 1, 3, 0])
    ids = HostIds.on(CPU, host)
    assert type(ids + 0) is Tensor
    assert ids.repeated.ids.tolist() == [0, 1, 3]
    assert ids.repeated.of.tolist() == [2, 1, 2, 0]
    assert ids.repeated.counts.tolist() == [1, 1, 2]
    assert ids.repeated is ids.repeated, "counted and sent once, whoever asks"
    both = joined(ids, HostIds.on(CPU, torch.tensor([7])))
    assert isinstance(both, HostIds)
    assert both.host.tolist() == both.tolist() == [3, 1, 3, 0, 7]
    assert type(joined(ids, host)) is Tensor
    assert part_of(ids, slice(1, 3)).repeated.ids.tolist() == [1, 3]
    assert part_of(host, slice(1, 3)).tolist() == [1, 3]


def test_values_are_counted_from_the_copy_of_the_host() -> None:
    """On a device without values nothing else could be counted."""
    ids = HostIds.on(torch.device("meta"), torch.tensor([5, 2, 5]))
    found = Repeated.of_batch(ids)
    assert [part.shape for part in found] == [(2,), (3,), (2,)]
    assert {part.device.type for part in found} == {"meta"}


def test_ids_from_afar_may_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.tensor([4, 1, 4]), torch.tensor([1, 0])
    assert sorted_ids(*ids).tolist() == [0, 1, 4]
    monkeypatch.setattr("crossalign.tensors.ids.at_hand", lambda x: False)
    assert sorted_ids(*ids).tolist() == [0, 1, 1, 4, 4]
