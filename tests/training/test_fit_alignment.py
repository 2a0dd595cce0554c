"""Training with an alignment, and training that breaks off: what is said, and what is kept."""

import math

import pytest
import torch

from crossalign.align.base import Alignment
from crossalign.errors import RunError
from crossalign.models import Backbone, Representations
from crossalign.training import (
    RunContext,
    TrainingOptions,
    fit,
    seed_everything,
)

QUICK = TrainingOptions(epochs=5, batch_size=64, learning_rate=0.02)


class Exploding(Alignment):
    """Wraps an alignment whose term turns to `value` at one step."""

    def __init__(self, value, at):
        super().__init__()
        self.value, self.at, self.step = value, at, 0

    def terms(self, user, item, modalities, users, items):
        self.step += 1
        return {"boom": user.sum() * (self.value if self.step == self.at else 0.0)}

    def diagnostics(self):
        return {}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_not_finite_names_its_term(run_tiny, value, tmp_path):
    """7 steps per epoch, so step 17 is the third one of epoch 3; two epochs are kept."""
    seen: list = []
    with pytest.raises(RunError) as error:
        run_tiny(tmp_path, QUICK, alignment=Exploding(value, at=17), on_epoch=seen.append)
    best = seen[-1]["best_epoch"]
    assert str(error.value) == (
        "training broke off in epoch 3, step 3: loss/align/boom is not finite; lower learning_rate "
        f"or the weight of this loss term; the weights of epoch {best} are kept"
    )
    assert [row["epoch"] for row in seen] == [1, 2]
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2


def test_nothing_is_lost_when_training_breaks_off(tiny_mf, tiny_dataset):
    """The modules get the best weights back, though the last ones are NaN."""
    model = tiny_mf(40, 24)
    with pytest.raises(RunError, match="loss/align/boom is not finite"):
        fit(
            model,
            tiny_dataset,
            QUICK,
            alignment=Exploding(math.nan, at=15),
            context=RunContext(progress=False),
        )
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_weights_that_break_in_the_last_step_of_an_epoch(tiny_mf, tiny_dataset):
    options = TrainingOptions(epochs=5, batch_size=500)
    with pytest.raises(RunError, match=r"epoch 2: the representation of user 0 is not finite"):
        fit(Breaking(tiny_mf(40, 24)), tiny_dataset, options, context=RunContext(progress=False))


class Breaking(Backbone):
    """Representations are NaN in the evaluation of epoch 2."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.evaluations = inner, 0

    def begin_epoch(self, rng):
        self.inner.begin_epoch(rng)

    def loss(self, batch, representations):
        return self.inner.loss(batch, representations)

    def forward(self):
        user, item = self.inner()
        self.evaluations += not self.training
        return Representations(user * (math.nan if self.evaluations == 2 else 1.0), item)


def test_interrupting_leaves_the_best_weights(tiny_mf, tiny_dataset):
    model, snapshots = tiny_mf(40, 24), []

    def on_epoch(row):
        snapshots.append((row["best_epoch"], model.user.detach().clone()))
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, tiny_dataset, QUICK, context=RunContext(progress=False, on_epoch=on_epoch))
    assert torch.equal(model.user, snapshots[snapshots[-1][0] - 1][1])


def test_non_finite_diagnostics_become_null(run_tiny, tmp_path):
    class Undefined(Exploding):
        def diagnostics(self):
            return {"share": torch.tensor(math.nan), "count": torch.tensor(3)}

    result, _ = run_tiny(tmp_path, QUICK, alignment=Undefined(0.0, at=0))
    assert result.history[0]["diagnostics/share"] is None
    assert result.history[0]["diagnostics/count"] == 3
    assert "NaN" not in (tmp_path / "history.jsonl").read_text()


def test_backbone_tables_replace_features(tiny_mf, tiny_dataset):
    """The alignment sees the backbone's own table of a modality, and raw features of others."""
    seen = {}

    class Projecting(tiny_mf):
        def modalities(self):
            return {"text": self.item}

    class Looking(Exploding):
        def terms(self, user, item, modalities, users, items):
            seen.update(modalities)
            return {"zero": item.sum() * 0}

    model = Projecting(40, 24)
    features = {"text": torch.ones(24, 2), "audio": torch.ones(24, 3)}
    options = TrainingOptions(epochs=1)
    alignment = Looking(0.0, at=0)
    fit(
        model,
        tiny_dataset,
        options,
        alignment=alignment,
        features=features,
        context=RunContext(progress=False),
    )
    assert seen["text"] is model.item
    assert seen["audio"] is features["audio"]


def test_alignment_is_told_of_every_epoch(tiny_mf, tiny_dataset):
    """Its number from 1, draws of its own whatever happened before, and tables on demand."""

    class Listening(Exploding):
        def begin_epoch(self, epoch, rng, tables):
            user, item, modalities = tables()
            assert not user.requires_grad
            assert set(modalities) == {"text"}
            told.append((epoch, float(torch.rand((), generator=rng)), item.detach().clone()))

    heard = []
    for _ in range(2):
        seed_everything(0)
        told = []
        model = tiny_mf(40, 24)
        fit(
            model,
            tiny_dataset,
            QUICK,
            alignment=Listening(0.0, at=0),
            context=RunContext(progress=False),
        )
        heard.append([(epoch, draw) for epoch, draw, _ in told])
        torch.rand(5)
    assert [epoch for epoch, _ in heard[0]] == [1, 2, 3, 4, 5]
    assert heard[0] == heard[1]
    assert len({draw for _, draw in heard[0]}) == 5
    assert not torch.equal(told[0][2], told[1][2]), "the tables of the moment"


def test_frozen_and_shared_parameters(tiny_mf, tiny_dataset, run_tiny):
    """A frozen table stays; a projector that backbone and alignment share is trained once."""
    model = tiny_mf(40, 24)
    model.item.requires_grad_(False)
    frozen = model.item.clone()
    fit(model, tiny_dataset, QUICK, context=RunContext(progress=False))
    assert torch.equal(model.item, frozen)

    class Sharing(Exploding):
        def __init__(self, shared):
            super().__init__(0.0, at=0)
            self.shared = shared

    model = tiny_mf(40, 24)
    result = fit(
        model,
        tiny_dataset,
        QUICK,
        alignment=Sharing(model.item),
        context=RunContext(progress=False),
    )
    assert len(result.history) == 5
