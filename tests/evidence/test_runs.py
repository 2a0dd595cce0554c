"""Evidence as a part of runs: chosen on validation, measured, reloaded, compared, served."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from crossalign.cli import main
from crossalign.config import load_config
from crossalign.errors import ConfigError, RunError
from crossalign.evaluation import evaluate, recommend
from crossalign.evidence import Choice, EvidenceOptions
from crossalign.fileio import write_json
from crossalign.pipeline import load_run, train
from crossalign.run_identity import run_fingerprint
from crossalign.run_measures import representations, run_scores
from crossalign.serving import Recommender, export_run
from crossalign.studies import tasks as module
from crossalign.studies.add_evidence import add_evidence
from crossalign.studies.methods import compared_methods
from crossalign.studies.study import run_study

SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=2"]


def config(*more: str):
    return load_config(None, [*SMALL, *more], backbone="bpr")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A finished run without evidence."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    train(config(), folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def added(plain) -> Path:
    """The same with evidence."""
    folder = plain.parent / "added"
    add_evidence(plain, folder, EvidenceOptions(kind="auto"), progress=False)
    return folder


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_the_choice_is_the_best_on_validation(added):
    """Of all that was tried; the model alone is tried too, and test plays no part."""
    choice = Choice.load(added)
    best = max(point.value for point in choice.tried)
    assert choice.metric == "recall@20"
    assert metrics(added)["valid"]["recall@20"] == pytest.approx(best)
    assert choice.tried[0].weight == 0
    assert metrics(added)["without_evidence"]["valid"]["recall@20"] == choice.tried[0].value
    kinds = {point.kind for point in choice.tried}
    assert {"allocation", "cooccurrence", "ease", "contentease", "contentknn"} < kinds


def test_evidence_helps_where_feedback_says_what_the_model_has_not_learnt(added):
    """Planted preferences: two epochs of training leave much to gain, on test as well."""
    found = metrics(added)
    assert found["test"]["recall@20"] > 1.2 * found["without_evidence"]["test"]["recall@20"]


def test_evidence_that_harms_is_not_taken(plain, tmp_path, monkeypatch):
    """Where no weight is better than none, the run ranks as its model does."""
    from crossalign.evidence import kinds

    rows = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    noise = kinds.largest_of_square(rows, 100)
    monkeypatch.setattr(kinds.Allocation, "lists", lambda self: -10 * noise)
    monkeypatch.setattr("crossalign.evidence.choice.WEIGHTS", (50.0,))
    folder = tmp_path / "run"
    add_evidence(plain, folder, EvidenceOptions(kind="allocation"), progress=False)
    assert Choice.load(folder).weight == 0
    assert metrics(folder)["test"] == metrics(plain)["test"]


def test_a_run_reloads_with_its_evidence(added):
    """Metrics of the reloaded run are those of its file; its model alone is still there."""
    settings, dataset, backbone = load_run(added)
    scores = run_scores(added, settings, dataset, backbone)
    found, told = evaluate(scores, dataset, "test"), metrics(added)
    assert found["recall@20"] == pytest.approx(told["test"]["recall@20"])
    alone = evaluate(representations(backbone), dataset, "test")
    assert alone["ndcg@20"] == pytest.approx(told["without_evidence"]["test"]["ndcg@20"])


def test_training_with_evidence_is_adding_it_later(added, tmp_path):
    """One run trained with it, and a finished one it was added to: the same numbers."""
    train(config("evidence.kind=auto"), tmp_path / "run", progress=False)
    assert metrics(tmp_path / "run")["test"] == metrics(added)["test"]
    assert Choice.load(tmp_path / "run") == Choice.load(added)


def test_given_kind_and_weight_are_taken_as_they_are(plain, tmp_path):
    """Nothing is chosen, so validation is not looked at."""
    options = EvidenceOptions(kind="ease+allocation", weight=0.25)
    add_evidence(plain, tmp_path / "run", options, progress=False)
    assert Choice.load(tmp_path / "run") == Choice("ease+allocation", 0.25)


def test_evidence_does_not_change_what_an_epoch_computes(plain):
    """A checkpoint fits the run with evidence too, and runs of before keep their identity."""
    _, dataset, _ = load_run(plain)
    both = [run_fingerprint(config(*more), dataset) for more in ((), ("evidence.kind=auto",))]
    assert both[0] == both[1]


def test_a_killed_call_is_written_to_its_end_and_a_finished_run_is_kept(plain, added, tmp_path):
    """A folder without metrics goes on; one with them, or of other options, is refused."""
    folder, options = tmp_path / "run", EvidenceOptions(kind="ease")
    add_evidence(plain, folder, options, progress=False)
    before = metrics(folder)["test"]
    (folder / "metrics.json").unlink()
    with pytest.raises(RunError, match=r"another evidence\.kind"):
        add_evidence(plain, folder, EvidenceOptions(kind="allocation"), progress=False)
    add_evidence(plain, folder, options, progress=False)
    assert metrics(folder)["test"] == before
    with pytest.raises(RunError, match="already holds a run"):
        add_evidence(plain, folder, options, progress=False)


def test_what_cannot_be_added_is_refused_in_one_line(plain, tmp_path, capsys):
    """Exit code 2 and one line: unknown kind, other options, nothing to add, lost choice."""
    command = ["evidence", str(plain), "--out", str(tmp_path / "run"), "--quiet"]
    for more, message in (
        (["--kind", "eese"], "did you mean 'ease'"),
        (["--kind", "none"], "nothing to add"),
        (["--set", "training.epochs=9"], "the run is trained"),
        (["--set", "evidence.weight=-1"], "evidence.weight"),
    ):
        assert main([*command, *more]) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert "\n" not in error
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_lost_choice_is_named(added, tmp_path):
    """A run that should have evidence is not evaluated without it."""
    with pytest.raises(RunError, match=r"has no evidence\.json"):
        Choice.load(tmp_path)
    (tmp_path / "evidence.json").write_text("{}")
    with pytest.raises(RunError, match="is damaged"):
        Choice.load(tmp_path)


def test_a_study_trains_a_model_once(tmp_path, monkeypatch):
    """With evidence and without side by side: the second takes the weights of the first."""
    trained = []
    monkeypatch.setattr(
        module, "train", lambda c, f, **more: trained.append(f) or train(c, f, **more)
    )
    methods = compared_methods([config("evidence.kind=ease"), config()])
    assert [(m.label, m.base) for m in methods] == [("bpr+evidence", "bpr"), ("bpr", None)]
    results = run_study(methods, [0, 1], tmp_path, progress=False)
    assert [folder.parent.name for folder in trained] == ["bpr", "bpr"]
    for result in results:
        assert len(result.folders) == 2
    run_study(methods, [0, 1], tmp_path, progress=False)
    assert len(trained) == 2


def test_an_aligned_method_with_evidence_is_compared_with_its_nearest():
    """The same without evidence; else the backbone with it; else the backbone alone."""
    aligned = load_config(None, [*SMALL, "evidence.kind=auto"], backbone="bpr", alignment="cross")
    bases = [
        compared_methods([aligned, *others])[0].base
        for others in ([], [config()], [config("evidence.kind=auto"), config()])
    ]
    assert bases == [None, "bpr", "bpr+evidence"]


def test_an_export_recommends_as_the_run_ranks(added, tmp_path):
    """Lists from files are those of the scorer; without evidence, those of the vectors."""
    about = export_run(added, tmp_path / "shop", unbought="trained")
    assert about["evidence"]["kinds"] == Choice.load(added).kind.split("+")
    settings, dataset, backbone = load_run(added)
    users = torch.arange(20)
    seen = torch.cat([dataset.split(split) for split in ("train", "valid", "test")], dim=1)
    for evidence in (True, False):
        model = representations(backbone)
        scores = run_scores(added, settings, dataset, backbone) if evidence else model
        expected, _ = recommend(scores, users, 5, seen)
        shop = Recommender.load(tmp_path / "shop", evidence=evidence)
        lists = shop.recommend([str(int(user)) for user in users], 5)
        found = lists["item"].astype(int).to_numpy().reshape(20, 5)
        np.testing.assert_array_equal(found, expected.numpy())


def test_an_export_has_evidence_for_histories_and_room_for_new_items(added, tmp_path):
    """Someone new with a user's items, and items without any evidence, can be served."""
    export_run(added, tmp_path / "shop")
    shop = Recommender.load(tmp_path / "shop")
    _, dataset, _ = load_run(added)
    history = [str(i) for i in dataset.train[1][dataset.train[0] == 0].tolist()]
    alone = Recommender.load(tmp_path / "shop", evidence=False)
    with_it, without = (one.recommend_for(history, 10) for one in (shop, alone))
    assert list(with_it["item"]) != list(without["item"])
    assert not set(with_it["item"]) & set(history)
    features = {name: torch.randn(2, t.shape[1]) for name, t in dataset.features.items()}
    more = shop.with_items(["new-1", "new-2"], features)
    assert set(more.recommend(["0"], 2, among=["new-1", "new-2"])["item"]) == {"new-1", "new-2"}
    assert len(more.recommend_for(["new-1", history[0]], 102)) == 100
    assert len(more.recommend_for(["new-1"], 102)) == 101
    scores = more.recommend(["0"], 102).set_index("item")["score"]
    assert float(scores["new-1"]) == pytest.approx(float(more.user[0] @ more.item[100]), rel=1e-4)
    old = json.loads((tmp_path / "shop" / "about.json").read_text())
    del old["evidence"]
    write_json(tmp_path / "shop" / "about.json", old)
    assert Recommender.load(tmp_path / "shop").evidence is None


def test_the_report_shows_what_was_tried(added):
    """Chosen evidence, the model alone, and the curve of the weights."""
    text = (added / "report.html").read_text()
    for shown in ("Evidence", "model alone", "by weight of the evidence"):
        assert shown in text


def test_options_are_typed():
    """A wrong weight is refused before anything is read."""
    with pytest.raises(ConfigError, match=r"evidence\.candidates"):
        config("evidence.candidates=0")
