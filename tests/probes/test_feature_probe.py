"""The protocols on features: every choice of modalities, and errors in one line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from crossalign.datasets import Dataset
from crossalign.errors import ConfigError
from crossalign.probes import probe_features
from crossalign.references.inputs import content_table


def test_every_protocol_is_run_with_each_modality_and_with_all(dataset: Dataset) -> None:
    probe = probe_features(dataset)
    protocols = ("zero-shot mean", "zero-shot max", "zero-shot last", "item-CF")
    choices = (("image",), ("text",), ("image", "text"))
    found = {(score.protocol, score.modalities) for score in probe.scores}
    assert found == {(protocol, choice) for protocol in protocols for choice in choices}


def test_one_modality_is_probed_once(dataset: Dataset) -> None:
    alone = replace(dataset, features={"image": dataset.features["image"]}, missing={})
    assert len(probe_features(alone).scores) == 4


def test_it_says_how_item_cf_took_the_features(dataset: Dataset) -> None:
    probe = probe_features(dataset, normalise=False, shrink=2.5)
    assert probe.lines()[-1].startswith("item-CF on raw features, shrink 2.5")
    assert probe.to_dict()["item_cf"] == {"normalise": False, "shrink": 2.5}
    assert json.loads(json.dumps(probe.to_dict()))["scores"][0]["metrics"]["n_users"] == 4
    assert max(map(len, probe.lines())) <= 80


def test_raw_features_change_item_cf_alone(dataset: Dataset) -> None:
    unit, raw = (probe_features(dataset, normalise=n, shrink=50.0) for n in (True, False))
    for one, other in zip(unit.scores, raw.scores, strict=True):
        if one.protocol != "item-CF":
            assert one == other


def test_without_features_or_with_an_unknown_modality_it_says_so(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="'tiny' has no features to probe"):
        probe_features(replace(dataset, features={}, missing={}))
    with pytest.raises(ConfigError, match="unknown modality 'imag': did you mean 'image'"):
        content_table(dataset, ("imag",))
