"""What can only be seen on a GPU: the same numbers as on the CPU, and no waiting in a step.

Without one these tests are skipped; `test_no_waiting.py` checks devices and waiting by other means.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crossalign.align import CLALoss, CNALoss, ILALoss
from crossalign.components import make_alignment, make_backbone, make_graph
from crossalign.config import load_config
from crossalign.datasets import Dataset, load_dataset
from crossalign.models import BACKBONES, Batch
from crossalign.training import RunContext, TrainingOptions, fit
from crossalign.training.optimizer import make_optimizer
from crossalign.training.steps import Losses, Trained, on_device

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that torch can compute on"
)
GPU = torch.device("cuda")
GOLDEN = Path(__file__).parent / "golden"
LETTERS = {"i": "image", "t": "text", "d": "id"}
SMALL = ["data.planted_users=60", "data.planted_items=40"]
WITHOUT_DRAWS = {"bm3": ["backbone.dropout=0"], "sgl": ["backbone.views=epoch"]}
"""The generators of a CPU and a GPU draw different numbers."""


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("planted", options=load_config(None, SMALL).data)


def made(name: str, data: Dataset, alignment: str, dtype: torch.dtype) -> Trained:
    """A backbone and an alignment on the CPU, with their epoch begun."""
    own = WITHOUT_DRAWS.get(name, [])
    prototypes = ["alignment.n_prototypes=6"] if alignment == "cross" else []
    config = load_config(None, [*SMALL, *own, *prototypes], backbone=name, alignment=alignment)
    torch.manual_seed(0)
    backbone = make_backbone(config, make_graph(config, data), data).to(dtype)
    aligner = make_alignment(config, data, backbone)
    backbone.begin_epoch(torch.Generator().manual_seed(0))
    features = {name: table.to(dtype) for name, table in data.features.items()}
    return Trained(backbone, None if aligner is None else aligner.to(dtype), features)


def moved(trained: Trained) -> Trained:
    """A copy on the GPU."""
    features = {name: table.to(GPU) for name, table in trained.features.items()}
    both: Any = copy.deepcopy((trained.backbone, trained.alignment))
    return Trained(*(part if part is None else part.to(GPU) for part in both), features)


def parameters(trained: Trained) -> list[nn.Parameter]:
    parts = [part for part in (trained.backbone, trained.alignment) if part is not None]
    return [p for p in nn.ModuleList(parts).parameters() if p.requires_grad]


def step(trained: Trained, data: Dataset, device: torch.device) -> Losses:
    """Losses and gradients of a batch."""
    users, items = data.train[:, :50]
    batch = on_device(Batch(users, items, (items + 1) % data.n_items), device)
    representations = trained.backbone()
    terms = trained.backbone.loss(batch, representations)
    losses = trained.losses(terms, representations, batch.users, batch.items)
    torch.stack(list(losses.terms.values())).sum().backward()
    return losses


@contextmanager
def no_waiting() -> Iterator[None]:
    """Torch raises an error where the host would wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Equal up to `tolerance` of the largest entry."""
    scale = max(float(theirs.abs().max()), 1e-12)
    torch.testing.assert_close(ours.cpu() / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("alignment", ["none", "cross"])
@pytest.mark.parametrize("name", BACKBONES.names())
def test_a_step_gives_the_numbers_of_the_cpu(name: str, alignment: str, data: Dataset) -> None:
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-5)):
        on_cpu = made(name, data, alignment, dtype)
        on_gpu = moved(on_cpu)
        found, wanted = step(on_gpu, data, GPU), step(on_cpu, data, torch.device("cpu"))
        assert set(found.terms) == set(wanted.terms)
        for term, value in found.terms.items():
            close(value.detach(), wanted.terms[term].detach(), tolerance)
        for ours, theirs in zip(parameters(on_gpu), parameters(on_cpu), strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            close(ours.grad, theirs.grad, 100 * tolerance)


@pytest.mark.parametrize("name", BACKBONES.names())
def test_no_step_with_cross_waits(name: str, data: Dataset) -> None:
    """The second step: the first one prepares what an epoch needs once."""
    trained = moved(made(name, data, "cross", torch.float32))
    adam = make_optimizer(parameters(trained), TrainingOptions())
    step(trained, data, GPU)
    adam.step()
    torch.cuda.synchronize()
    with no_waiting():
        adam.zero_grad()
        step(trained, data, GPU)
        adam.step()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_16_bits_train(precision: str, data: Dataset, tmp_path: Path) -> None:
    trained = made("slmrec", data, "cross", torch.float32)
    options = TrainingOptions(epochs=4, batch_size=128, precision=precision, device="cuda")
    result = fit(
        trained.backbone,
        data,
        options,
        alignment=trained.alignment,
        context=RunContext(tmp_path, progress=False),
    )
    assert all(math.isfinite(row["loss"]) for row in result.history)
    assert result.history[-1]["loss"] < result.history[0]["loss"]


@pytest.mark.parametrize("size", ["small", "medium"])
def test_the_published_numbers(size: str) -> None:
    with np.load(GOLDEN / f"golden_{size}.npz") as file:
        golden = {name: torch.from_numpy(file[name]).to(GPU) for name in file.files}
    user, *views = (golden[name] for name in ("user", "id", "image", "text"))
    pairs = golden["users"], golden["items"]
    for rule in ("oneway", "dynamic"):
        ila = ILALoss(user.shape[1], leaky_bi=rule == "dynamic").double().to(GPU)
        with torch.no_grad():
            ila.temperature.copy_(golden["ila_temperature"])
            for key in ("i2t", "t2i", "i2d", "d2i", "t2d", "d2t"):
                layer: Any = ila.maps[f"{LETTERS[key[0]]}_to_{LETTERS[key[2]]}"]
                layer.weight.copy_(golden[f"ila_{key}"])
        close(ila(user, *views, *pairs).detach(), golden[f"ila_{rule}_loss"].cpu(), 1e-6)
    cla = CLALoss(*golden["cla_prototypes_user_item"].shape).double().to(GPU)
    with torch.no_grad():
        cla.temperature.copy_(golden["cla_temperature"])
        for name in ("prototypes_user_item", "prototypes_modalities"):
            getattr(cla, name).copy_(golden[f"cla_{name}"])
    close(cla(user, *views, *pairs).detach(), golden["cla_loss"].cpu(), 1e-6)
    cna = CNALoss(golden["friends"]).double().to(GPU)
    close(cna(*views, pairs[1]).detach(), golden["cna_mean_loss"].cpu(), 1e-6)
