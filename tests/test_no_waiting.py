"""A step never makes the host wait for the device.

Tensors of torch's `meta` device have shapes and no values: a step runs on it only if nobody asks
for a value. `.item()`, `.tolist()`, `bool(tensor)`, `nonzero`, `unique`, an index by a mask and
`.cpu()` all fail. Everything that the step makes must also be put on the right device, since `meta`
and CPU tensors do not mix. Copies to the device for which the host would wait are refused as well.

Two kinds of steps wait by their nature: sampled blocks, whose neighbours the host draws, and those
that read features from disk (`MappedTable`), which the host does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from crossalign.align import ALIGNERS
from crossalign.align.directions import Directions
from crossalign.components import make_alignment, make_backbone, make_graph
from crossalign.config import RunConfig, load_config
from crossalign.datasets import Dataset, load_dataset
from crossalign.models import BACKBONES, Batch
from crossalign.tensors.ids import HostIds
from crossalign.training.mapped_table import MappedTable
from crossalign.training.state import StepLog
from crossalign.training.steps import Trained

META = torch.device("meta")
SMALL = ["data.planted_users=60", "data.planted_items=40"]
OPTIONS = {
    "cross": ["alignment.n_prototypes=6"],
    "fettle": ["alignment.n_prototypes=6"],
    "cla": ["alignment.n_prototypes=6"],
}
READINGS = [f"directions={rule}" for rule in get_args(Directions)]
READINGS += ["feedback=inner_product", "spread_over=users"]


class NoWaiting(TorchDispatchMode):
    """Refuses copies between host and device that the host waits for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default and args[0].device != out.device:
            assert kwargs.get("non_blocking"), "the host waits for a copy to the device"
        if func is torch.ops.aten.copy_.default and args[0].device != args[1].device:
            assert args[2:] == (True,), "the host waits for a copy to the device"
        return out


class NoNumbers(TorchFunctionMode):
    """Refuses tensors made of numbers of the host, which are such copies in disguise."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in (torch.tensor, torch.as_tensor, Tensor.new_tensor) and out.device == META:
            raise AssertionError("the host waits for a number to arrive: use full or new_full")
        return out


class Prepared:
    """A backbone and an alignment after a step on the CPU, moved to the device without values."""

    def __init__(self, config: RunConfig, data: Dataset, first: bool = False) -> None:
        torch.manual_seed(0)
        backbone = make_backbone(config, make_graph(config, data), data)
        alignment = make_alignment(config, data, backbone)
        self.trained = Trained(backbone, alignment, data.features)
        self.ids = (*data.train[:, :50], (data.train[1, :50] + 1) % data.n_items)
        self.backbone = backbone
        modules = nn.ModuleList([backbone] if alignment is None else [backbone, alignment])
        backbone.begin_epoch(torch.Generator().manual_seed(0))
        if alignment is not None:
            rng = torch.Generator().manual_seed(0)
            alignment.begin_epoch(1, rng, self.trained.detached_tables)
        if not first:
            self.step(self.ids)
        modules.zero_grad()
        modules.to(META)
        features = {name: table.to(META) for name, table in data.features.items()}
        self.trained = Trained(backbone, alignment, features)
        self.modules = modules

    def step(self, ids: tuple[Tensor, ...]) -> Tensor:
        """Losses, backward pass and log, as the training loop does them."""
        batch = Batch(*ids)
        representations = self.backbone()
        terms = self.backbone.loss(batch, representations)
        losses = self.trained.losses(terms, representations, batch.users, batch.items)
        if self.trained.alignment is None:  # what training calls then
            losses.terms.update(self.backbone.batch_loss(batch))
        total = torch.stack(list(losses.terms.values())).sum()
        total.backward()
        StepLog().add({**losses.terms, **losses.diagnostics})
        return total

    def step_on_device(self) -> Tensor:
        """The same there; the host keeps its copy of the ids."""
        with NoWaiting(), NoNumbers():
            return self.step(tuple(HostIds.on(META, part.clone()) for part in self.ids))


@pytest.fixture(scope="module")
def prepare() -> Callable[..., Prepared]:
    """`prepare(backbone, alignment, *overrides, missing=, first=)`, see `Prepared`."""

    def prepared(
        backbone: str, alignment: str, *overrides: str, missing: bool = False, first: bool = False
    ) -> Prepared:
        own = [*OPTIONS.get(backbone, []), *OPTIONS.get(alignment, [])]
        values = [*SMALL, *own, *overrides]
        config = load_config(None, values, backbone=backbone, alignment=alignment)
        data = load_dataset(config.path, options=config.data)
        return Prepared(config, lacking(data) if missing else data, first)

    return prepared


def lacking(data: Dataset) -> Dataset:
    """`data`, every third item without its last modality."""
    name = data.modalities[-1]
    missing = torch.arange(data.n_items) % 3 == 0
    table = data.features[name].masked_fill(missing.unsqueeze(1), 0)
    return replace(data, features={**data.features, name: table}, missing={name: missing})


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: torch.equal(x, x),
        lambda x: torch.tensor(0.2, device=x.device),
        lambda x: x.new_tensor([0.2]),
        lambda x: torch.ones(3).to(x.device),
    ],
)
def test_waiting_is_noticed(ask: Callable[[Tensor], object]) -> None:
    """Else the tests below would prove nothing."""
    with (
        NoWaiting(),
        NoNumbers(),
        pytest.raises((RuntimeError, NotImplementedError, AssertionError)),
    ):
        ask(torch.ones(3, device=META))


@pytest.mark.parametrize("backbone", BACKBONES.names())
def test_no_backbone_waits(backbone: str, prepare) -> None:
    assert prepare(backbone, "none").step_on_device().device == META


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing rows"])
@pytest.mark.parametrize("alignment", ALIGNERS.names())
def test_no_alignment_waits(alignment: str, missing: bool, prepare) -> None:
    """Alone, and beside a backbone with projectors of its own."""
    for backbone in ("lightgcn", "freedom"):
        prepared = prepare(backbone, alignment, missing=missing)
        assert prepared.step_on_device().device == META
        assert all(p.grad is not None for p in prepared.modules.parameters() if p.requires_grad)


@pytest.mark.parametrize("reading", READINGS)
def test_no_rule_for_directions_waits(reading: str, prepare) -> None:
    prepared = prepare("lightgcn", "cross", f"alignment.{reading}")
    assert prepared.step_on_device().device == META


@pytest.mark.parametrize("temperature", [0, 0.1], ids=["nearest", "soft"])
def test_the_codes_of_kmeans_do_not_wait(temperature: float, prepare) -> None:
    codes = ["alignment.codes=kmeans", f"alignment.code_temperature={temperature}"]
    assert prepare("lightgcn", "fettle", *codes).step_on_device().device == META


@pytest.mark.parametrize(
    ("backbone", "overrides"),
    [("sgl", ["backbone.views=batch"]), ("sgl", ["backbone.views=epoch"]), ("lattice", [])],
)
def test_graphs_that_are_built_in_a_step_do_not_wait(
    backbone: str, overrides: list[str], prepare
) -> None:
    """SGL's for every batch, LATTICE's in the first batch of an epoch."""
    prepared = prepare(backbone, "none", *overrides, first=True)
    assert prepared.step_on_device().device == META


def test_features_on_disk_are_read_by_the_host(tmp_path: Path) -> None:
    """If they no longer wait, the sentence above must go."""
    np.save(tmp_path / "features.npy", np.ones((3, 2), dtype=np.float32))
    table = MappedTable(tmp_path / "features.npy").to(META)
    with pytest.raises(NotImplementedError):
        table[torch.arange(3, device=META)]
