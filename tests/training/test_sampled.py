"""Training on sampled blocks: the same numbers as on the whole graph where all neighbours are
taken, whatever the alignment; exact resume; lazily trained rows; and what is refused."""

import copy

import pytest
import torch

from crossalign.align import ALIGNERS
from crossalign.errors import ConfigError
from crossalign.graphs import build_graph
from crossalign.models import BACKBONES
from crossalign.tensors.tables import SomeRows
from crossalign.training import (
    NegativeSampler,
    RunContext,
    TrainingOptions,
    fit,
    generator,
    seed_everything,
)
from crossalign.training.optimizer import LazyAdam

SAMPLED = TrainingOptions(
    epochs=4, batch_size=64, learning_rate=0.02, patience=50, sampling="blocks", fanout=2
)
WHOLE = {"epochs": 2, "batch_size": 64, "learning_rate": 0.02}
ALL = {**WHOLE, "sampling": "blocks", "fanout": -1, "exclude_positives": False}
ABLE = [name for name in BACKBONES.names() if BACKBONES[name].cls.row_tables]


def train(
    dataset,
    options,
    *,
    backbone="lightgcn",
    own=None,
    aligner=None,
    seed=1,
    double=False,
    **arguments,
):
    """`own`: options of the backbone."""
    seed_everything(0)
    graph = build_graph(dataset, relations=BACKBONES[backbone].cls.relations)
    model = BACKBONES[backbone].cls(graph, dataset.features, dim=4, **(own or {}))
    alignment = None
    if aligner is not None:
        cls = ALIGNERS[aligner].cls
        projected = model.modalities()
        foreign = {name: t for name, t in dataset.features.items() if name not in projected}
        data = {"feature_dims": {name: table.shape[1] for name, table in foreign.items()}}
        if cls.wants_neighbors({}):
            data["neighbors"] = (torch.arange(24)[:, None] + torch.tensor([2, 4, 7])) % 24
        alignment = cls(model.representation_dim, dataset.modalities, **data)
    features = dict(dataset.features)
    if double:
        model = model.double()
        alignment = None if alignment is None else alignment.double()
        features = {name: table.double() for name, table in features.items()}
    result = fit(
        model,
        dataset,
        options,
        alignment=alignment,
        features=features,
        seed=seed,
        context=RunContext(progress=False, **arguments),
    )
    return result, model


def losses(result):
    return [
        {name: value for name, value in row.items() if name.startswith("loss")}
        for row in result.history
    ]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("backbone", ABLE)
def test_all_neighbours_train_like_the_whole_graph(backbone, lazy, tiny_dataset):
    """Losses of every epoch and the weights; lazily too, since every batch reads all rows."""
    everything = {"batch_size": 999}
    options = TrainingOptions(**WHOLE | everything)
    whole, one = train(tiny_dataset, options, backbone=backbone, double=True)
    options = TrainingOptions(**ALL | everything | {"lazy_embeddings": lazy})
    sampled, other = train(tiny_dataset, options, backbone=backbone, double=True)
    assert losses(sampled) == [pytest.approx(row, rel=1e-9) for row in losses(whole)]
    assert losses(whole)[0] != losses(whole)[1]
    for name, table in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], table, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("aligner", ALIGNERS.names())
def test_every_alignment_works_on_sampled_rows(aligner, tiny_dataset):
    whole, _ = train(tiny_dataset, TrainingOptions(**WHOLE), aligner=aligner, double=True)
    sampled, _ = train(tiny_dataset, TrainingOptions(**ALL), aligner=aligner, double=True)
    assert any(name.startswith("loss/align/") for name in losses(whole)[0])
    assert losses(sampled) == [pytest.approx(row, rel=1e-6) for row in losses(whole)]


@pytest.mark.parametrize(
    "own", [{"n_item_layers": 0}, {"n_item_layers": 2}, {"trainable_features": True}]
)
@pytest.mark.parametrize("lazy", [False, True])
def test_kept_edges_and_item_graphs_are_sampled_too(own, lazy, tiny_dataset):
    """FREEDOM's, in batches that read a part of the rows, with an alignment that shares its
    projectors."""
    setting = {"backbone": "freedom", "own": own, "aligner": "cross", "double": True}
    whole, _ = train(tiny_dataset, TrainingOptions(**WHOLE | {"epochs": 1}), **setting)
    options = TrainingOptions(**ALL | {"epochs": 1, "lazy_embeddings": lazy})
    sampled, _ = train(tiny_dataset, options, **setting)
    assert {"loss/bpr_text", "loss/align/ila"} <= losses(whole)[0].keys()
    if lazy:  # rows that a batch does not read stay, so that later batches differ
        assert losses(sampled)[0] == pytest.approx(losses(whole)[0], rel=0.05)
    else:
        assert losses(sampled) == [pytest.approx(row, rel=1e-6) for row in losses(whole)]


def test_some_neighbours_learn_the_checkerboard(tiny_dataset):
    options = TrainingOptions(
        epochs=60,
        batch_size=64,
        learning_rate=0.02,
        monitor="recall@2",
        sampling="blocks",
        fanout=(4, 3, 2),
        lazy_embeddings=True,
        shared_negatives=5,
    )
    result, _ = train(tiny_dataset, options)
    assert result.best_valid["recall@2"] > 0.9


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("epoch", [1, 3])
def test_resumed_sampled_run_equals_an_uninterrupted_one(tmp_path, epoch, lazy, tiny_dataset):
    class Stop(Exception):
        pass

    def stop(row):
        if row["epoch"] == epoch:
            raise Stop

    options = TrainingOptions(**{**vars(SAMPLED), "lazy_embeddings": lazy})
    whole, one = train(tiny_dataset, options, aligner="cross", folder=tmp_path / "whole")
    with pytest.raises(Stop):
        train(tiny_dataset, options, aligner="cross", folder=tmp_path / "parts", on_epoch=stop)
    torch.rand(3)
    parts, other = train(
        tiny_dataset, options, aligner="cross", folder=tmp_path / "parts", resume=True
    )
    assert parts.history == whole.history
    for name, table in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], table)


def test_seeds_and_epochs_draw_other_neighbours(tiny_dataset):
    one, _ = train(tiny_dataset, SAMPLED)
    same, _ = train(tiny_dataset, SAMPLED)
    other, _ = train(tiny_dataset, SAMPLED, seed=2)
    assert one.history == same.history
    assert one.history != other.history


def test_lazy_adam_is_sparse_adam():
    """On a table that is read in parts, with a dense parameter beside it as in Adam."""
    table, dense = torch.randn(9, 3).double(), torch.randn(4).double()
    ours = [torch.nn.Parameter(t.clone()) for t in (table, dense)]
    theirs = [torch.nn.Parameter(t.clone()) for t in (table, dense)]
    options = {"lr": 0.1, "eps": 1e-15}
    lazy = LazyAdam(ours, **options)
    sparse, adam = (
        torch.optim.SparseAdam(theirs[:1], **options),
        torch.optim.Adam(theirs[1:], **options),
    )
    rng = torch.Generator().manual_seed(0)
    for _ in range(6):
        ids = torch.randperm(9, generator=rng)[:4]
        weight = torch.randn(4, 3, generator=rng).double()
        for (rows, other), optimizers in ((ours, [lazy]), (theirs, [sparse, adam])):
            read = torch.nn.functional.embedding(ids, rows, sparse=True)
            ((read * weight).sum() + other.square().sum()).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(ours[0], table)


def test_rows_that_no_batch_reads_stay(tiny_dataset):
    """Items without training rows: Adam's weight decay moves them, the lazy one does not."""
    moved = {}
    for lazy in (False, True):
        options = TrainingOptions(
            **ALL | {"weight_decay": 0.1, "lazy_embeddings": lazy, "epochs": 1}
        )
        kept = tiny_dataset.train[1] != 5
        assert (tiny_dataset.train[1] == 5).any()
        dataset = copy.copy(tiny_dataset)
        object.__setattr__(dataset, "train", tiny_dataset.train[:, kept])
        seed_everything(0)
        model = BACKBONES["bpr"].cls(build_graph(dataset), {}, dim=4)
        before = model.item_embedding[5].detach().clone()
        fit(model, dataset, options, context=RunContext(progress=False))
        moved[lazy] = not torch.equal(model.item_embedding[5], before)
    assert moved == {False: True, True: False}


def test_shared_negatives_are_few_and_right(tiny_dataset):
    sampler = NegativeSampler(tiny_dataset.train, 40, 24)
    users = tiny_dataset.train[0]
    negatives = sampler.sample_shared(users, 100, 6, generator(0, "test"))
    keys = tiny_dataset.train[0] * 24 + tiny_dataset.train[1]
    assert not torch.isin(users * 24 + negatives, keys).any()
    for group in negatives.split(100):
        assert 2 <= len(group.unique()) <= 6


def test_shared_negatives_fall_back_for_a_user_who_has_the_whole_pool():
    """User 0 lacks item 9 alone; a pool of two rarely holds it."""
    pairs = torch.tensor([[0] * 9 + [1], [*range(9), 9]])
    sampler = NegativeSampler(pairs, 2, 10)
    negatives = sampler.sample_shared(pairs[0], 5, 2, generator(3, "test"))
    assert (negatives[:9] == 9).all()
    assert negatives[9] != 9


def test_rows_that_were_not_computed_are_not_given():
    table = SomeRows(torch.tensor([2, 5]), torch.randn(2, 3))
    assert torch.equal(table[torch.tensor([5, 5, 2])], table.rows[[1, 1, 0]])
    for missing in ([3], [2, 7], [0]):
        with pytest.raises(ValueError, match="not computed"):
            table[torch.tensor(missing)]


def test_backbone_that_cannot_is_refused_with_those_that_can(tiny_mf, tiny_dataset):
    with pytest.raises(ConfigError) as error:
        fit(tiny_mf(40, 24), tiny_dataset, SAMPLED, context=RunContext(progress=False))
    assert str(error.value) == (
        "TinyMF cannot be trained on sampled blocks: set training.sampling to full, or choose one "
        f"of {', '.join(ABLE)}"
    )
    assert {"bpr", "lightgcn", "vbpr", "freedom"} <= set(ABLE)


def test_fanout_of_other_layers_is_refused(tiny_dataset):
    options = TrainingOptions(epochs=1, sampling="blocks", fanout=(3, 2))
    with pytest.raises(ConfigError, match=r"has 2 numbers, but the backbone has 3 layers"):
        train(tiny_dataset, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lazy_embeddings": True}, "option 'training.lazy_embeddings' has no effect"),
        ({"fanout": 0}, "option 'training.fanout' is 0: give numbers of at least 1"),
        ({"fanout": (3, -2)}, "option 'training.fanout' is (3, -2): give numbers"),
        ({"shared_negatives": -1}, "option 'training.shared_negatives' is -1"),
        ({"sampling": "some"}, "option 'training.sampling' is 'some'"),
    ],
)
def test_bad_option_gives_one_line(options, message):
    with pytest.raises(ConfigError) as error:
        TrainingOptions(**options)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
