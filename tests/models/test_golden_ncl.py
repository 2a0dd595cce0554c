"""NCL: the released code's numbers in float64, a loop for other options, and the E-step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cosine_similarity

from crossalign.graphs import GraphOptions, build_graph
from crossalign.models.ncl import NCL
from crossalign.training import RunContext, TrainingOptions, fit, seed_everything

RTOL, ATOL = 1e-9, 1e-12
SIDES = ("user", "item")
PARAMETERS = {f"{side}_embedding": f"{side}_embedding.weight" for side in SIDES}
RELEASED = {"dim": 16, "reg_weight": 0.05, "ssl_weight": 1e-3, "alpha": 0.7, "proto_weight": 3e-3}


def use_recorded_prototypes(backbone: NCL, numbers) -> None:
    for side in SIDES:
        raw = numbers[f"graph/{side}_centroids_raw"].double()
        getattr(backbone, f"{side}_prototypes").set(raw, numbers[f"graph/{side}_cluster"])


@pytest.fixture
def numbers(golden):
    return golden("ncl")


@pytest.fixture
def make(numbers, golden_data, build):
    """With the recorded parameters and, unless told otherwise, prototypes."""

    def make(*, prototypes=True, **options):
        backbone = build(NCL, golden_data(), **{**RELEASED, **options})
        numbers.fill(backbone, PARAMETERS)
        if prototypes:
            use_recorded_prototypes(backbone, numbers)
        return backbone

    return make


@pytest.mark.golden("backbones", "ncl")
def test_the_released_losses_gradients_and_scores(case) -> None:
    """With the recorded prototypes: k-means is not repeated."""
    hparams = case.hparams
    ssl, proto = hparams["ssl_reg"], hparams["proto_reg"]
    backbone = case.build(
        NCL,
        dim=hparams["embedding_size"],
        n_layers=hparams["n_layers"],
        reg_weight=hparams["reg_weight"],
        ssl_weight=ssl,
        alpha=hparams["alpha"],
        temperature=hparams["ssl_temp"],
        hyper_layers=hparams["hyper_layers"],
        proto_weight=proto,
        n_clusters=hparams["num_clusters"],
    )
    case.fill(backbone, PARAMETERS)
    use_recorded_prototypes(backbone, case)
    terms = {
        "bpr": ("bpr", 1.0),
        "reg": ("emb_reg", hparams["reg_weight"]),
        "ssl_user": ("ssl_user", ssl),
        "ssl_item": ("ssl_item", ssl * hparams["alpha"]),
        "proto_user": ("proto_user", proto),
        "proto_item": ("proto_item", proto),
    }
    case.check_representations(backbone)
    case.check_step(backbone, PARAMETERS, terms)


def test_context_beyond_the_output_layers_equals_a_loop(numbers, make) -> None:
    """The output averages layers 0 to 1 only, the context is layer 4."""
    backbone = make(n_layers=1, hyper_layers=2, temperature=0.3, proto_weight=0.0)
    batch = numbers.batch
    terms = backbone.loss(batch, backbone())
    (terms["ssl_user"] + terms["ssl_item"]).backward()
    ours = [p.grad.clone() for p in backbone.parameters()]
    backbone.zero_grad()

    to_user = backbone.propagation.to_user
    matrix = to_user(torch.eye(to_user.n_src, dtype=torch.float64))
    user, item = backbone.user_embedding, backbone.item_embedding
    torch.testing.assert_close(backbone().user, (user + matrix @ item) / 2)
    contexts = user, item
    for _ in range(4):
        contexts = matrix @ contexts[1], matrix.T @ contexts[0]
    total = 0
    for name, ids, context, centre, weight in (
        ("ssl_user", batch.users, contexts[0], user, 1e-3),
        ("ssl_item", batch.items, contexts[1], item, 0.7e-3),
    ):
        value = 0
        for node in ids.tolist():
            logits = cosine_similarity(context[node][None], centre) / 0.3
            value -= weight * logits.log_softmax(0)[node]
        torch.testing.assert_close(terms[name], value, rtol=RTOL, atol=ATOL)
        total = total + value
    total.backward()
    for mine, parameter in zip(ours, backbone.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=RTOL, atol=ATOL)


def test_prototypes_come_with_the_first_epoch_and_repeat_with_the_generator(numbers, make) -> None:
    fits = []
    for seed in (0, 0, 1):
        backbone = make(prototypes=False, n_clusters=5)
        assert not any(t.startswith("proto") for t in backbone.loss(numbers.batch, backbone()))
        backbone.begin_epoch(torch.Generator().manual_seed(seed))
        assert "proto_user" in backbone.loss(numbers.batch, backbone())
        fits.append(backbone.user_prototypes)
    assert torch.equal(fits[0].centroids, fits[1].centroids)
    assert torch.equal(fits[0].cluster, fits[1].cluster)
    assert not torch.equal(fits[0].centroids, fits[2].centroids)
    assert fits[0].centroids.dtype == torch.float64
    torch.testing.assert_close(fits[0].centroids.norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_the_warm_up_goes_without_prototypes_and_survives_a_resume(
    golden_data, tmp_path: Path
) -> None:
    data = golden_data()

    def train(epochs: int, folder: Path | None) -> list[dict]:
        graph = build_graph(data, GraphOptions(), relations=NCL.relations)
        seed_everything(0)
        backbone = NCL(graph, {}, **{**RELEASED, "n_clusters": 5, "warm_up": 2})
        options = TrainingOptions(epochs=epochs, batch_size=100, device="cpu")
        context = RunContext(folder, resume=folder is not None, progress=False)
        return fit(backbone, data, options, context=context).history

    whole = train(4, None)
    assert ["loss/proto_user" in row for row in whole] == [False, False, True, True]
    train(1, tmp_path)
    assert train(4, tmp_path) == whole
