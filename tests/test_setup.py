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


def test_train_alone_takes_what_is_recommended_and_says_why(tmp_path, capsys) -> None:
    assert main(["recommend-setup", "planted", *SMALL, "-o", str(tmp_path / "setup.yaml")]) == 0
    recommended = load_config(tmp_path / "setup.yaml", ["training.epochs=1"], seed=4)
    capsys.readouterr()
    train = ["train", "planted", *SMALL, "--set", "training.epochs=1", "--seed", "4", "--quiet"]
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("no backbone is named, so the data decide")
    assert f"alignment.name = {recommended.alignment.name}: " in shown
    assert load_config(tmp_path / "run" / "config.yaml") == recommended


@pytest.mark.parametrize(
    "named",
    [["--backbone", "lightgcn"], ["--set", "backbone.n_layers=1"], ["--alignment", "none"]],
)
def test_who_names_a_part_gets_the_defaults_for_the_others(tmp_path, capsys, named) -> None:
    train = ["train", "planted", *SMALL, "--set", "training.epochs=1", "--quiet", *named]
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    assert "the data decide" not in capsys.readouterr().out
    config = load_config(tmp_path / "run" / "config.yaml")
    assert (config.backbone.name, config.alignment) == ("lightgcn", None)
    assert config.evidence.kind == "none"


def test_nothing_held_out_recommends_no_evidence() -> None:
    dataset = planted(n_users=150, n_items=60, seed=3)
    every = torch.cat([dataset.train, dataset.valid, dataset.test], 1)
    none = dataset.valid[:, :0]
    whole = replace(dataset, train=every, valid=none, test=none, item_graphs={})
    assert "evidence.kind" not in chosen(whole)
    assert "evidence.kind" in chosen(dataset)


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
