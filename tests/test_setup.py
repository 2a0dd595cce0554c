"""`recommend-setup` writes a configuration that trains, and says why it is as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crossalign.cli import main
from crossalign.config import load_config
from crossalign.datasets import planted
from crossalign.tuning.setup import LARGE, _training, recommend_setup, setup_yaml

SMALL = ["--set", "data.planted_users=150", "--set", "data.planted_items=100"]


def reasons(dataset) -> dict[str, str]:
    return {c.key: c.reason for c in recommend_setup(dataset, load_config(None, path="x"))}


def test_the_command_writes_what_train_reads(tmp_path, capsys) -> None:
    file = tmp_path / "setup.yaml"
    assert main(["recommend-setup", "planted", *SMALL, "-o", str(file)]) == 0
    shown = capsys.readouterr().out
    assert f"crossalign train --config {file}" in shown
    config = load_config(file)
    assert config.data.planted_users == 150, "the data are read again as they were"
    assert config.alignment is not None
    assert config.alignment.name == "rna"
    assert config.evidence.kind == "auto"
    run = ["train", "--config", str(file), "--set", "training.epochs=1", "--quiet"]
    assert main([*run, "--out", str(tmp_path / "run")]) == 0


def test_every_choice_has_its_reason_beside_it() -> None:
    dataset = planted(n_users=150, n_items=60, seed=3)
    choices = recommend_setup(dataset, load_config(None, path="x"))
    lines = setup_yaml(dataset, choices).splitlines()
    for choice in choices:
        option = choice.key.rpartition(".")[2]
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{option}:"))
        assert lines[at - 1].strip().startswith("#"), choice


def test_reasons_follow_what_feedback_says_of_the_content() -> None:
    dataset = planted(n_users=400, n_items=300, seed=3)
    assert "items near by content share users" in reasons(dataset)["alignment.name"]
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    lost = {name: table[order] for name, table in dataset.features.items()}
    assert "hardly share users" in reasons(replace(dataset, features=lost))["alignment.name"]
    bare = replace(dataset, features={}, missing={}, truth=None)
    assert "there is no content" in reasons(bare)["alignment"]
    assert "content" not in reasons(bare)["evidence.kind"]


@pytest.mark.parametrize(("n_pairs", "sampled"), [(LARGE, False), (LARGE + 1, True)])
def test_large_graphs_are_sampled(n_pairs: int, sampled: bool) -> None:
    assert any(choice.key == "training.sampling" for choice in _training(n_pairs)) == sampled
