"""`recommend-setup` writes a configuration that trains, and says why it is as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crossalign.cli import main
from crossalign.config import load_config
from crossalign.datasets import planted
from crossalign.tuning.setup import LARGE, Choice, _training, recommend_setup, setup_yaml

SMALL = ["--set", "data.planted_users=150", "--set", "data.planted_items=100"]


def chosen(dataset) -> dict[str, Choice]:
    return {c.key: c for c in recommend_setup(dataset, load_config(None, path="x"))}


def test_the_command_writes_what_train_reads(tmp_path, capsys) -> None:
    file = tmp_path / "setup.yaml"
    assert main(["recommend-setup", "planted", *SMALL, "-o", str(file)]) == 0
    shown = capsys.readouterr().out
    assert f"crossalign train --config {file}" in shown
    config = load_config(file)
    assert config.data.planted_users == 150, "the data are read again as they were"
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


def content_of(users: dict[int, set[int]], n_items: int) -> torch.Tensor:
    """Rows that are near where items share users: their incidence."""
    table = torch.zeros(n_items, 1 + max(users))
    for user, items in users.items():
        table[list(items), user] = 1.0
    return table


def test_the_alignment_follows_what_feedback_says_of_the_content() -> None:
    """Confirmed content chooses neighbours, other content does not, and none aligns nothing."""
    dataset = planted(n_users=400, n_items=300, seed=3)
    users: dict[int, set[int]] = {}
    for user, item in dataset.train.T.tolist():
        users.setdefault(user, set()).add(item)
    table = content_of(users, 300)
    telling = replace(dataset, features={"text": table}, missing={}, truth=None, item_graphs={})
    assert chosen(telling)["alignment.name"].value == "rna"
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    silent = replace(telling, features={"text": table[order]})
    assert chosen(silent)["alignment.name"].value == "cross"
    assert "hardly share more users" in chosen(silent)["alignment.name"].reason
    bare = replace(telling, features={})
    assert chosen(bare)["alignment"].value is None
    assert "content" not in chosen(bare)["evidence.kind"].reason


@pytest.mark.parametrize(("n_pairs", "sampled"), [(LARGE, False), (LARGE + 1, True)])
def test_large_graphs_are_sampled(n_pairs: int, sampled: bool) -> None:
    assert any(choice.key == "training.sampling" for choice in _training(n_pairs)) == sampled
