"""Steps in 16 bits: layers have them, and nothing that needs more digits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from crossalign.align.base import Alignment
from crossalign.components import make_alignment, make_backbone, make_graph
from crossalign.config import load_config
from crossalign.datasets import load_dataset
from crossalign.errors import ConfigError
from crossalign.models import BACKBONES, Backbone, Batch, Representations
from crossalign.models.contrast import cosine_contrast, in_batch_contrast, padded_contrast
from crossalign.tensors.functional import log_partition, unit_rows
from crossalign.tensors.ids import Repeated
from crossalign.training import FitResult, RunContext, TrainingOptions, fit, seed_everything
from crossalign.training.precision import make_scaler, represent

HALF = TrainingOptions(precision="bfloat16", device="cpu")
SMALL = ["data.planted_users=60", "data.planted_items=40", "alignment.n_prototypes=6"]


class Layers(Backbone):
    """Notes the types of what a linear layer gives while training and while evaluating."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.table = nn.Parameter(torch.randn(5, 4))
        self.seen: list[torch.dtype] = []

    def forward(self) -> Representations:
        rows = self.layer(self.table)
        self.seen.append(rows.dtype)
        return Representations(rows, rows)


def test_layers_have_16_bits_and_what_they_give_has_32() -> None:
    backbone = Layers()
    tables = represent(backbone, HALF)
    assert backbone.seen == [torch.bfloat16]
    assert {table.dtype for table in tables} == {torch.float32}
    tables.user.sum().backward()
    assert {p.grad.dtype for p in backbone.parameters() if p.grad is not None} == {torch.float32}
    represent(backbone, TrainingOptions())
    assert backbone.seen[1:] == [torch.float32]


@pytest.fixture
def rows():
    """`rows(n)`: unit rows, always the same."""
    return lambda n: unit_rows(torch.randn(n, 8, generator=torch.Generator().manual_seed(n)))


def test_contrasts_do_not_notice_autocast(rows) -> None:
    """Also for those who lift them into a loop of their own."""
    a, b, t, places = rows(6), rows(7), torch.tensor(0.2), torch.arange(6)
    sides = Repeated.of_batch(torch.tensor([0, 1, 1, 2])), Repeated.of_batch(torch.tensor([3] * 4))
    contrasts = [
        lambda: log_partition(a, b, t),
        lambda: cosine_contrast(a, b, places, 0.2),
        lambda: in_batch_contrast(a[:3], sides[0], b[:1], sides[1], 0.2),
        lambda: padded_contrast(a, b[:6], 0.2, 1e-8),
    ]
    for contrast in contrasts:
        plain = contrast()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(contrast(), plain)


def test_unit_rows_of_16_bits_have_length_one() -> None:
    x = torch.randn(4, 8, dtype=torch.bfloat16, requires_grad=True)
    found = unit_rows(x)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


def trained(
    name: str, precision: str, epochs: int = 2, alignment: str = "cross"
) -> tuple[FitResult, Backbone, Alignment]:
    """A short training on planted data."""
    config = load_config(None, SMALL, backbone=name, alignment=alignment)
    data = load_dataset(config.path, options=config.data)
    seed_everything(0)
    backbone = make_backbone(config, make_graph(config, data), data)
    aligner = make_alignment(config, data, backbone)
    assert aligner is not None
    options = TrainingOptions(
        epochs=epochs, batch_size=128, learning_rate=0.01, precision=precision, device="cpu"
    )
    return (
        fit(backbone, data, options, alignment=aligner, context=RunContext(progress=False)),
        backbone,
        aligner,
    )


@pytest.mark.parametrize("name", BACKBONES.names())
def test_every_backbone_trains_with_cross_in_16_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # oneDNN's products have 32 bits whatever is asked for; on a GPU there are none.
    monkeypatch.setattr("crossalign.models.linear.uses_onednn", lambda x: False)
    result, backbone, aligner = trained(name, "bfloat16")
    for row in result.history:
        losses = {key: value for key, value in row.items() if key.startswith("loss")}
        assert all(value is not None and math.isfinite(value) for value in losses.values()), losses
    for parameter in (*backbone.parameters(), *aligner.parameters()):
        assert parameter.dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in aligner.diagnostics().values())


@pytest.mark.parametrize("name", ["vbpr", "slmrec", "dualgnn"])
def test_16_bits_learn_as_much(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossalign.models.linear.uses_onednn", lambda x: False)
    whole, half = (trained(name, precision, epochs=8)[0] for precision in ("float32", "bfloat16"))
    assert whole.history != half.history, "16 bits made no difference at all"
    found, wanted = half.best_valid["recall@20"], whole.best_valid["recall@20"]
    assert found == pytest.approx(wanted, abs=0.06)


def test_without_dense_layers_nothing_changes() -> None:
    whole, half = (trained("lightgcn", p)[0] for p in ("float32", "bfloat16"))
    assert whole.history == half.history


class Stop(Exception):
    pass


def test_a_resumed_run_in_16_bits_equals_an_uninterrupted_one(run_tiny, tmp_path: Path) -> None:
    options = TrainingOptions(epochs=4, batch_size=64, precision="bfloat16", device="cpu")

    def stop(row: dict[str, object]) -> None:
        if row["epoch"] == 2:
            raise Stop

    whole, _ = run_tiny(tmp_path / "whole", options)
    with pytest.raises(Stop):
        run_tiny(tmp_path / "parts", options, on_epoch=stop)
    parts, _ = run_tiny(tmp_path / "parts", options, resume=True)
    assert parts.history == whole.history


def test_only_float16_scales_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    kinds = ("float32", "bfloat16", "float16")
    assert [make_scaler(TrainingOptions(precision=p)).is_enabled() for p in kinds] == [0, 0, 1]


def test_the_scale_of_the_loss_survives_a_resume(run_tiny, tmp_path: Path) -> None:
    from crossalign.training.checkpoint import Checkpoint
    from crossalign.training.precision import GradScaler
    from crossalign.training.state import TrainingState

    model = nn.Linear(2, 1)
    modules, adam = nn.ModuleDict({"model": model}), torch.optim.Adam(model.parameters())

    def checkpoint(scaler: GradScaler) -> Checkpoint:
        return Checkpoint(tmp_path, modules, adam, {}, scaler=scaler)

    written, read = GradScaler("cpu", init_scale=8.0), GradScaler("cpu", init_scale=2.0)
    checkpoint(written).save_checkpoint(TrainingState())
    checkpoint(read).resume()
    assert read.get_scale() == 8.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "half"}, "option 'training.precision' is 'half'"),
        (
            {"precision": "float16", "sampling": "blocks", "lazy_embeddings": True},
            "does not know the scaled gradients of float16",
        ),
    ],
)
def test_bad_options_are_refused_in_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        TrainingOptions(**options)
    assert "\n" not in str(caught.value)


def test_float16_on_a_cpu_is_refused_in_one_line(tiny_mf, tiny_dataset) -> None:
    options = TrainingOptions(precision="float16", device="cpu")
    with pytest.raises(ConfigError, match=r"'float16'.*use 'bfloat16'") as caught:
        fit(tiny_mf(40, 24), tiny_dataset, options, context=RunContext(progress=False))
    assert "\n" not in str(caught.value)


def test_the_loss_is_not_part_of_autocast() -> None:
    """A loss that multiplies matrices would else do so in 16 bits."""

    class Product(Layers):
        def loss(self, batch: Batch, representations: Representations) -> dict[str, torch.Tensor]:
            product = representations.user @ representations.item.T
            self.seen.append(product.dtype)
            return {"product": product.square().mean()}

    from crossalign.training.steps import Trained, WholeGraph

    backbone = Product()
    config = load_config(None, SMALL[:2], backbone="bpr")
    data = load_dataset(config.path, options=config.data)
    steps = WholeGraph(Trained(backbone, None, {}), data, HALF)
    next(steps.losses(1, torch.Generator().manual_seed(0)))
    assert backbone.seen == [torch.bfloat16, torch.float32]
