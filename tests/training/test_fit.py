"""The training loop: it learns, stops when it should, repeats itself, and says what went wrong."""

import dataclasses

import pytest
import torch
from torch import nn

from crossalign.errors import ConfigError, DataError
from crossalign.evaluation import Metrics, evaluate
from crossalign.models import Backbone, Representations
from crossalign.training import (
    NegativeSampler,
    RunContext,
    TrainingOptions,
    epoch_batches,
    fit,
    generator,
    seed_everything,
)
from crossalign.training.state import TrainingState

QUICK = TrainingOptions(epochs=5, batch_size=64, learning_rate=0.02)


def test_learns_the_checkerboard(tiny_mf, tiny_dataset):
    """Every held-out item has the user's colour: a model that learnt anything ranks it above all
    items of the other colour, so recall at half the catalogue is 1."""
    seed_everything(0)
    model = tiny_mf(tiny_dataset.n_users, tiny_dataset.n_items)
    before = evaluate(model(), tiny_dataset, "test", ks=(2,))
    options = TrainingOptions(epochs=40, batch_size=64, learning_rate=0.05, monitor="recall@2")
    result = fit(model, tiny_dataset, options, context=RunContext(progress=False))
    after = evaluate(model(), tiny_dataset, "test", ks=(2,))
    # each user's two held-out items are the only ones of the colour that are not masked
    assert before["recall@2"] < 0.6
    assert result.best_valid["recall@2"] == after["recall@2"] == 1.0


def test_history_has_all_terms_and_metrics(run_tiny):
    result, _ = run_tiny(None, QUICK)
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5]
    for row in result.history:
        terms = [value for name, value in row.items() if name.startswith("loss/")]
        assert {"loss/bpr", "loss/l2", "loss/align/pull"} <= set(row)
        assert row["loss"] == pytest.approx(sum(terms), rel=1e-6)
        assert row["valid/recall@20"] <= 1
        assert row["learning_rate"] == 0.02
    # 40 users with 10 training rows each: 6 batches of 64 and one of 16
    assert result.history[0]["diagnostics/rows"] == pytest.approx(400 / 7)


def test_same_seed_same_run_other_seed_other_run(run_tiny):
    one, _ = run_tiny(None, QUICK)
    torch.rand(7)  # whatever happened before does not matter
    two, _ = run_tiny(None, QUICK)
    other, _ = run_tiny(None, QUICK, seed=6)
    assert one.history == two.history
    assert one.history != other.history


def test_threads_do_not_change_the_run(tiny_mf, tiny_dataset):
    """Gradients of repeated rows are summed in a fixed order: 400 rows of 128 numbers are enough
    for torch to share the work among threads, and they fall on 24 items only."""
    threads, histories = torch.get_num_threads(), []
    options = TrainingOptions(epochs=6, batch_size=400, learning_rate=0.02)
    try:
        torch.set_num_threads(2)
        for _ in range(3):
            seed_everything(0)
            model = tiny_mf(40, 24, dim=128)
            histories.append(
                fit(model, tiny_dataset, options, context=RunContext(progress=False)).history
            )
    finally:
        torch.set_num_threads(threads)
    assert histories[0] == histories[1] == histories[2]
    assert not torch.are_deterministic_algorithms_enabled()


class Scripted(Backbone):
    """A backbone whose validation recall follows a script: users prefer a given item."""

    def __init__(self, dataset, script):
        super().__init__()
        self.dataset, self.script, self.epoch = dataset, script, 0
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("mark", torch.zeros(()))

    def begin_epoch(self, rng):
        self.epoch += 1
        self.mark.fill_(self.epoch)

    def forward(self):
        """The first `script[epoch]` users rank their validation item first, the others last."""
        n_users, n_items = self.dataset.n_users, self.dataset.n_items
        item = torch.eye(n_items)
        user = torch.zeros(n_users, n_items)
        users, items = self.dataset.valid
        good = users < self.script[max(self.epoch, 1) - 1]
        user[users[good], items[good]] = 1.0
        user[users[~good], items[~good]] = -1.0
        return Representations(user + 0 * self.weight, item)

    def loss(self, batch, representations):
        return {"nothing": representations.user.sum() * 0 + self.weight**2}


def scripted_fit(dataset, script, **options):
    model = Scripted(dataset, script)
    options = TrainingOptions(epochs=len(script), batch_size=500, monitor="recall@1", **options)
    return fit(model, dataset, options, context=RunContext(progress=False)), model


@pytest.mark.parametrize(
    ("script", "patience", "best", "epochs"),
    [
        ([5, 6, 6, 6, 6, 6], 2, 2, 5),  # stops at the third evaluation without improvement
        ([5, 6, 6, 6, 7, 6, 6, 6, 9], 2, 5, 8),  # equal is no improvement; counting starts anew
        ([5, 4, 3], 0, 1, 2),
        ([1, 2, 3, 4], 0, 4, 4),
        ([0, 0, 0, 0], 9, 1, 4),  # a score of zero still counts as a first best
    ],
)
def test_early_stopping(tiny_dataset, script, patience, best, epochs):
    result, model = scripted_fit(tiny_dataset, script, patience=patience)
    assert (result.best_epoch, len(result.history)) == (best, epochs)
    assert result.stopped_early == (epochs < len(script))
    assert model.mark == best, "the best weights are loaded at the end"
    assert result.best_valid["recall@1"] == script[best - 1] / 40


def test_improvements_are_not_rounded():
    """The published code rounds to four digits first, so that a gain of 1e-5 is lost."""
    state, module = TrainingState(), nn.Linear(1, 1)
    for epoch, score in enumerate([0.12341, 0.12342, 0.12342, 0.12341], start=1):
        state.judge(epoch, Metrics({"recall@20": score}, n_users=1), "recall@20", module)
    assert (state.best_epoch, state.bad_evaluations) == (2, 2)


def test_evaluates_every_nth_and_the_last_epoch(tiny_dataset):
    result, _ = scripted_fit(tiny_dataset, [5, 9, 5, 9, 5, 9, 7], eval_every=3, patience=9)
    evaluated = [row["epoch"] for row in result.history if "valid/recall@1" in row]
    assert evaluated == [3, 6, 7]
    assert result.best_epoch == 6


def test_learning_rate_schedule(run_tiny):
    options = TrainingOptions(
        epochs=5, batch_size=64, learning_rate=0.01, lr_decay=0.5, lr_decay_epochs=2
    )
    result, _ = run_tiny(None, options)
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([0.01 * 0.5 ** (epoch / 2) for epoch in range(5)])


@pytest.mark.parametrize("decoupled", [False, True])
def test_matches_a_plain_adam_loop(decoupled, tiny_mf, tiny_dataset):
    """One batch per epoch, no dropout: the loop is Adam on the sum of the terms, nothing else."""
    seed_everything(0)
    model, plain = (tiny_mf(40, 24).double() for _ in range(2))
    plain.load_state_dict(model.state_dict())
    options = TrainingOptions(
        epochs=4, batch_size=999, weight_decay=0.01, decoupled_weight_decay=decoupled
    )
    result = fit(model, tiny_dataset, options, seed=9, context=RunContext(progress=False))

    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind(plain.parameters(), lr=options.learning_rate, weight_decay=0.01, foreach=False)
    sampler = NegativeSampler(tiny_dataset.train, 40, 24)
    batches, own = generator(9, "batches"), generator(9, "backbone")
    for row in result.history[: result.best_epoch]:
        plain.begin_epoch(own)
        (batch,) = epoch_batches(tiny_dataset.train, sampler, 999, batches)
        loss = sum(plain.loss(batch, plain()).values())
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-12)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(model.user, plain.user, rtol=1e-9, atol=1e-12)


def test_user_with_every_item_is_refused_before_training(tiny_mf, tiny_dataset):
    everything = torch.stack([torch.zeros(24, dtype=torch.int64), torch.arange(24)])
    others = tiny_dataset.train[:, tiny_dataset.train[0] != 0]
    valid, test = (p[:, p[0] != 0] for p in (tiny_dataset.valid, tiny_dataset.test))
    train = torch.cat([everything, others], dim=1)
    dataset = dataclasses.replace(tiny_dataset, train=train, valid=valid, test=test)
    with pytest.raises(DataError, match=r"user 0 has a training row with every one of the 24"):
        fit(tiny_mf(40, 24), dataset, QUICK, context=RunContext(progress=False))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_missing_gpu_is_said(tiny_mf, tiny_dataset):
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        fit(
            tiny_mf(40, 24),
            tiny_dataset,
            TrainingOptions(device="cuda"),
            context=RunContext(progress=False),
        )


def test_progress_bar_shows_losses_and_score(run_tiny, capsys):
    run_tiny(None, QUICK, progress=True)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    for word in ("loss=", "align/pull=", "recall@20=", "best="):
        assert word in shown
