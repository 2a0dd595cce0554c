"""Pre-training learns what modalities have in common, repeatably, and says so when it cannot."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from crossalign.encoders import EncoderOptions, Pretraining, encode, pretrain
from crossalign.errors import ConfigError, DataError, RunError

SMALL = EncoderOptions(
    dim=16, n_heads=2, n_tokens=3, dropout=0.0, epochs=30, batch_size=32, learning_rate=3e-3,
    device="cpu",
)  # fmt: skip
SHORT = dataclasses.replace(SMALL, epochs=2)
WIDTHS = {"smell": 11, "sound": 6}


def common_cause(n_items: int = 300, wider: int = 1) -> dict[str, Tensor]:
    """Two modalities that show the same four latent numbers, with a little noise."""
    rng = torch.Generator().manual_seed(0)
    latent = torch.randn(n_items, 4, generator=rng)
    features = {}
    for name, width in WIDTHS.items():
        mixing = torch.randn(4, wider * width, generator=rng)
        noise = 0.1 * torch.randn(n_items, wider * width, generator=rng)
        features[name] = 3.0 * latent @ mixing + noise + 5.0
    return features


@pytest.fixture(scope="module")
def learned() -> Pretraining:
    return pretrain(common_cause(), options=SMALL, seed=0, progress=False)


def test_hidden_chunks_of_unseen_items_are_predicted_from_the_rest(learned: Pretraining) -> None:
    """From their own tokens and from the CLS, far better than by the mean."""
    assert learned.n_held_out == 30
    for name, loss in learned.held_out.items():
        assert loss < 0.4 * learned.mean_predictor[name], name
    assert learned.mean_predictor["smell/cls"] == pytest.approx(1.0, abs=0.3)


def test_nothing_is_learned_where_nothing_is_shared() -> None:
    """Independent noise cannot be predicted: the held-out loss must not say otherwise."""
    rng = torch.Generator().manual_seed(1)
    noise = {name: torch.randn(200, width, generator=rng) for name, width in WIDTHS.items()}
    result = pretrain(noise, options=SMALL, progress=False)
    for name, loss in result.held_out.items():
        assert loss > 0.95 * result.mean_predictor[name]


def test_weights_are_those_of_the_best_epoch(learned: Pretraining) -> None:
    losses = [row["valid_loss"] for row in learned.history]
    assert losses[learned.best_epoch - 1] == min(losses)
    assert sum(learned.held_out.values()) == pytest.approx(min(losses), rel=1e-6)
    assert not learned.encoder.training


@pytest.mark.parametrize("loss", ["mse", "infonce"])
def test_the_same_seed_gives_the_same_encoder(loss: str) -> None:
    options = dataclasses.replace(SHORT, loss=loss, dropout=0.2, itc_weight=0.1)
    features = common_cause(100)
    first, again, other = (
        pretrain(features, options=options, seed=seed, progress=False) for seed in (1, 1, 2)
    )
    assert first.history == again.history
    unified = encode(first.encoder, features)
    torch.testing.assert_close(encode(again.encoder, features), unified, rtol=0, atol=0)
    assert not torch.allclose(encode(other.encoder, features), unified)


def test_picking_the_true_chunk_is_learned_too() -> None:
    """With chunks of several columns: the directions of narrow ones tell few items apart."""
    options = dataclasses.replace(SMALL, loss="infonce", epochs=15)
    result = pretrain(common_cause(wider=4), options=options, progress=False)
    for name, loss in result.held_out.items():
        assert loss < 0.7 * result.mean_predictor[name], name


def test_permuted_items_have_permuted_features(learned: Pretraining) -> None:
    features = common_cause()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    shuffled = {name: table[order] for name, table in features.items()}
    missing = {"smell": torch.arange(300) < 50}
    shuffled_missing = {"smell": missing["smell"][order]}
    torch.testing.assert_close(
        encode(learned.encoder, shuffled, shuffled_missing),
        encode(learned.encoder, features, missing)[order],
    )


def test_a_dropped_modality_is_hidden_like_a_missing_one(learned: Pretraining) -> None:
    features = common_cause()
    gone = torch.arange(300) % 3 == 0
    dropped = encode(learned.encoder, features, drop={"sound": gone})
    zeroed = {**features, "sound": features["sound"].masked_fill(gone[:, None], 0.0)}
    torch.testing.assert_close(dropped, encode(learned.encoder, zeroed, missing={"sound": gone}))
    whole = encode(learned.encoder, features)
    torch.testing.assert_close(dropped[~gone], whole[~gone])
    assert (dropped[gone] - whole[gone]).abs().amax(1).min() > 1e-4


def test_one_modality_alone_still_tells_items_apart(learned: Pretraining) -> None:
    """An item shown without a modality resembles its whole self more than other items do."""
    features = common_cause()
    every = torch.ones(300, dtype=torch.bool)
    whole = torch.nn.functional.normalize(encode(learned.encoder, features))
    alone = torch.nn.functional.normalize(encode(learned.encoder, features, drop={"sound": every}))
    similarity = alone @ whole.T
    better = (similarity > similarity.diagonal()[:, None]).float().mean()
    assert better < 0.05


def test_missing_rows_neither_train_nor_break(learned: Pretraining) -> None:
    """What stands in missing rows has no effect, and items without anything are left out."""
    features = common_cause(120)
    missing = {"smell": torch.arange(120) < 30, "sound": torch.arange(120) < 10}
    results = []
    for filling in (0.0, 1e3):
        filled = {
            name: table.masked_fill(missing[name][:, None], filling)
            for name, table in features.items()
        }
        result = pretrain(filled, missing, SHORT, progress=False)
        results.append((result, encode(result.encoder, filled, missing)))
    (first, unified), (second, again) = results
    assert first.history == second.history
    torch.testing.assert_close(unified, again, rtol=0, atol=0)
    assert unified.isfinite().all()
    torch.testing.assert_close(unified[:10], unified[:1].expand(10, -1))
    assert first.n_held_out == 11


@pytest.mark.parametrize("names", [["smell"], ["smell", "sound", "taste"]])
def test_any_number_of_modalities(names: list[str]) -> None:
    source = common_cause(80)
    features = {name: source.get(name, source["smell"][:, :2]) for name in names}
    result = pretrain(features, options=SHORT, progress=False)
    assert encode(result.encoder, features).shape == (80, 16)
    assert set(result.held_out) == {f"{n}/{route}" for n in names for route in ("token", "cls")}


def test_double_precision_is_kept() -> None:
    features = {name: table.double() for name, table in common_cause(60).items()}
    result = pretrain(features, options=SHORT, progress=False)
    assert encode(result.encoder, features).dtype == torch.float64


def test_mistakes_are_named_in_one_line(learned: Pretraining) -> None:
    features = common_cause(20)
    with pytest.raises(DataError, match="no features to encode"):
        pretrain({}, options=SHORT)
    everything = torch.ones(20, dtype=torch.bool)
    with pytest.raises(DataError, match=r"0 item\(s\) with features"):
        pretrain(features, dict.fromkeys(features, everything), SHORT)
    with pytest.raises(ConfigError, match="unknown modality 'smel': did you mean 'smell'"):
        encode(learned.encoder, features, drop={"smel": everything})
    with pytest.raises(DataError, match=r"mask of 'smell' has shape \(3,\) for 20 items"):
        encode(learned.encoder, features, drop={"smell": everything[:3]})
    with pytest.raises(DataError, match="no features of 'sound'"):
        encode(learned.encoder, {"smell": features["smell"]})
    with pytest.raises(DataError, match=r"features of 'sound' have shape \(20, 5\)"):
        encode(learned.encoder, {**features, "sound": features["sound"][:, :5]})


def test_a_diverging_loss_breaks_off() -> None:
    options = dataclasses.replace(SHORT, learning_rate=1e30)
    with pytest.raises(RunError, match=r"broke off in epoch 1: .*encoder\.learning_rate"):
        pretrain(common_cause(100), options=options, progress=False)
