"""`train --from`: rows follow their ids, new ones are placed, what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from crossalign.cli import main
from crossalign.components import make_modules
from crossalign.config import load_config
from crossalign.datasets import load_dataset
from crossalign.pipeline import load_run
from crossalign.renewal import Catalogue, warm_start
from crossalign.training.checkpoint import read_moments, read_weights
from crossalign.training.optimizer import make_optimizer, take_moments


def started(weeks, data, *, run="run", **changes):
    """Configuration, data and freshly made modules that start from `run`, and what they took."""
    config = load_config(weeks / run / "config.yaml", path=str(data))
    config = replace(config, start_from=str(weeks / run), **changes)
    dataset = load_dataset(config.path, options=config.data)
    backbone, alignment = make_modules(config, dataset)
    return config, dataset, backbone, warm_start(config, dataset, backbone, alignment)


def test_equal_data_and_settings_give_equal_scores_before_the_first_epoch(weeks) -> None:
    _, _, backbone, start = started(weeks, weeks / "one")
    _, _, before = load_run(weeks / "run")
    for now, then in zip(backbone.eval()(), before.eval()(), strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)
    assert start.ids.user.is_identity()
    assert start.ids.item.is_identity()


def test_rows_and_moments_follow_their_ids(weeks) -> None:
    config, dataset, backbone, start = started(weeks, weeks / "two")
    _, old, before = load_run(weeks / "run")
    modules = nn.ModuleDict({"backbone": backbone})
    optimizer = make_optimizer(modules.parameters(), config.training)
    take_moments(optimizer, modules, start.moments)
    moments = read_moments(weeks / "run")
    tables = (("user", old.user_ids, dataset.user_ids), ("item", old.item_ids, dataset.item_ids))
    for number, (side, ids, new_ids) in enumerate(tables):
        assert len(new_ids) > len(ids)
        place = [list(new_ids).index(one) for one in ids]
        assert place != list(range(len(ids)))
        table = getattr(backbone, f"{side}_embedding")
        assert torch.equal(table[place], getattr(before, f"{side}_embedding"))
        for name in ("exp_avg", "exp_avg_sq"):
            state = optimizer.state[table][name]
            assert torch.equal(state[place], moments[number][name])
            new = np.setdiff1d(np.arange(len(new_ids)), place)
            assert bool((state[new] == 0).all()) == (name == "exp_avg")
        assert optimizer.state[table]["step"] == moments[number]["step"]


def test_new_rows_are_placed_and_not_longer_than_known_ones(weeks) -> None:
    config, dataset, backbone, start = started(weeks, weeks / "two")
    fresh, _ = make_modules(config, dataset)
    assert start.placed == {"items": "content", "users": "history"}
    for side, rows in (("user", start.ids.user), ("item", start.ids.item)):
        table, own = (getattr(one, f"{side}_embedding") for one in (backbone, fresh))
        assert len(rows.new) > 10
        assert not (table[rows.new] == own[rows.new]).any()
        known = table[rows.known]
        assert table[rows.new].norm(dim=1).mean() < 1.5 * known.norm(dim=1).mean()


def test_a_run_tells_who_was_known_and_how_lists_moved(weeks, tmp_path, capsys) -> None:
    out = tmp_path / "next"
    command = ["train", str(weeks / "two"), "--from", str(weeks / "run"), "--out", str(out)]
    assert main([*command, "--quiet"]) == 0
    summary = json.loads((out / "metrics.json").read_text())["started_from"]
    now, before = Catalogue.load(out), Catalogue.load(weeks / "run")
    users = set(before.user_ids), set(now.user_ids)
    assert summary["users"]["known"] == len(users[0] & users[1])
    assert summary["users"]["new"] == len(users[1] - users[0])
    assert summary["items"]["new"] == len(now.item_ids) - len(before.item_ids)
    assert summary["held_out_rows_trained_before"] == 0
    assert 0 < summary["lists_moved@20"] < 1
    said = capsys.readouterr().out
    assert f"started from {weeks / 'run'}" in said
    assert f"{summary['unchanged_users']} users of whom nothing new is known" in said


def test_lists_of_a_run_that_learns_nothing_more_do_not_move(weeks, tmp_path) -> None:
    out = tmp_path / "next"
    command = ["train", "--from", str(weeks / "run"), "--out", str(out), "--quiet"]
    still = ["--set", "training.learning_rate=1e-12", "--set", "training.epochs=1"]
    assert main([*command, *still]) == 0
    summary = json.loads((out / "metrics.json").read_text())["started_from"]
    assert summary["lists_moved@20"] == 0
    assert summary["unchanged_users"] == len(Catalogue.load(out).user_ids)


def test_a_killed_run_goes_on_as_one_that_was_not(weeks, tmp_path) -> None:
    command = ["train", str(weeks / "two"), "--from", str(weeks / "run"), "--quiet"]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert main([*command, "--out", str(whole)]) == 0
    assert main([*command, "--out", str(halves), "--set", "training.epochs=1"]) == 0
    resume = ["train", "--resume", str(halves), "--set", "training.epochs=3", "--quiet"]
    assert main(resume) == 0
    assert (halves / "history.jsonl").read_text() == (whole / "history.jsonl").read_text()


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (("--set", "backbone.dim=16"), "backbone.dim = 16 (it has 8)"),
        (("--backbone", "bpr"), "backbone = bpr (it has lightgcn)"),
        (("--alignment", "infonce"), "alignment = infonce (it has none)"),
    ],
)
def test_settings_that_cannot_be_carried_over_are_refused_by_name(
    weeks, tmp_path, capsys, option, named
) -> None:
    command = ["train", str(weeks / "two"), "--from", str(weeks / "run"), "--quiet"]
    assert main([*command, "--out", str(tmp_path / "next"), *option]) == 2
    said = capsys.readouterr().err
    assert "cannot be carried over to" in said
    assert named in said
    assert not (tmp_path / "next").exists()


def test_projectors_of_other_content_are_refused(weeks, tmp_path, capsys, train_briefly) -> None:
    """The alignment and its projectors are kept; content of another width does not fit them."""
    train_briefly(weeks / "one", weeks / "aligned", "--alignment", "infonce")
    _, _, _, start = started(weeks, weeks / "two", run="aligned")
    kept = read_weights(weeks / "aligned")
    assert any(name.startswith("alignment.projectors") for name in kept)
    assert all(name in kept for name in start.moments)

    wide = tmp_path / "wide"
    shutil.copytree(weeks / "two", wide)
    with np.load(wide / "text_feat.npz") as old:
        features = np.tile(old["features"], 2)
        np.savez(wide / "text_feat.npz", ids=old["ids"], features=features)
    command = ["train", str(wide), "--from", str(weeks / "aligned"), "--quiet"]
    assert main([*command, "--out", str(tmp_path / "next")]) == 2
    assert "content of another width" in capsys.readouterr().err
    (wide / "image_feat.npz").unlink()
    assert main([*command, "--out", str(tmp_path / "next")]) == 2
    assert "modalities text (it has image, text)" in capsys.readouterr().err


def test_rows_that_the_earlier_run_was_trained_on_may_not_judge_this_one(
    weeks, tmp_path, capsys
) -> None:
    """A random split, drawn anew, would hold out what the weights know."""
    command = ["train", str(weeks / "two"), "--from", str(weeks / "run"), "--quiet"]
    assert main([*command, "--out", str(tmp_path / "next"), "--set", "data.split=random"]) == 2
    assert "held out here are training rows" in capsys.readouterr().err


def test_strangers_are_refused(weeks, tmp_path, capsys) -> None:
    rows = pd.read_csv(weeks / "two" / "interactions.csv")
    rows["user"] = "x" + rows["user"]
    shutil.copytree(weeks / "two", tmp_path / "other")
    rows.to_csv(tmp_path / "other" / "interactions.csv", index=False)
    command = ["train", str(tmp_path / "other"), "--from", str(weeks / "run"), "--quiet"]
    assert main([*command, "--out", str(tmp_path / "next")]) == 2
    assert "no user of" in capsys.readouterr().err


def test_a_run_without_a_catalogue_is_known_by_its_data(weeks, tmp_path, capsys) -> None:
    """Runs of earlier versions left none: they can be followed while their data are the same."""
    for name in ("one", "run"):
        shutil.copytree(weeks / name, tmp_path / name)
    (tmp_path / "run" / "catalogue.npz").unlink()
    _, _, _, start = started(tmp_path, weeks / "two")
    assert np.array_equal(start.before.user_ids, Catalogue.load(weeks / "run").user_ids)

    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace(str(weeks / "one"), str(weeks / "two")))
    command = ["train", str(weeks / "two"), "--from", str(tmp_path / "run"), "--quiet"]
    assert main([*command, "--out", str(tmp_path / "next")]) == 2
    assert "was trained on other data" in capsys.readouterr().err


def test_a_damaged_catalogue_is_refused(weeks, tmp_path, capsys) -> None:
    shutil.copytree(weeks / "run", tmp_path / "run")
    file = tmp_path / "run" / "catalogue.npz"
    file.write_bytes(file.read_bytes()[:500])
    command = ["train", str(weeks / "two"), "--from", str(tmp_path / "run"), "--quiet"]
    assert main([*command, "--out", str(tmp_path / "next")]) == 2
    assert "catalogue.npz is damaged" in capsys.readouterr().err


def test_pairs_are_seen_if_the_earlier_run_was_trained_on_them(weeks) -> None:
    _, dataset, _, start = started(weeks, weeks / "two")
    _, old, _ = load_run(weeks / "run")

    def named(data, pairs):
        users, items = pairs.tolist()
        return [(data.user_ids[u], data.item_ids[i]) for u, i in zip(users, items, strict=True)]

    trained = set(named(old, old.train))
    expected = [pair in trained for pair in named(dataset, dataset.train)]
    assert start.seen.tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_replay_needs_a_run_to_start_from(weeks, tmp_path, capsys) -> None:
    option = ["--set", "training.replay=1"]
    code = main(["train", str(weeks / "one"), *option, "--out", str(tmp_path / "run")])
    assert code == 2
    assert "--from" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_replayed_run_ends_and_says_how_it_was_trained(weeks, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    start = ["--from", str(weeks / "run"), "--set", "training.replay=1", "--quiet"]
    assert main(["train", str(weeks / "two"), *start, "--out", str(out)]) == 0
    assert "replay: 1.0" in (out / "config.yaml").read_text()
