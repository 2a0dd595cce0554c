"""A comparison that cannot mislead: validation, its choice, convergence, settings, any rival."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from crossalign.evaluation.per_user import UserMetrics, save_user_metrics
from crossalign.report import format_markdown, format_terminal, study_table, write_tables
from crossalign.report.study_report import write_study
from crossalign.report.study_settings import differing_settings, settings_lines

METRICS = ["recall@20", "ndcg@20"]


@dataclass(frozen=True)
class Method:
    label: str
    folders: tuple[Path, ...]
    base: str | None = None
    data: str = ""
    reference: bool = False


@pytest.fixture
def make(make_run):
    """A method of one seed by its validation and test metrics."""

    def method(label, valid, test, *, config="", base=None, data="", **more):
        folder = make_run(
            f"{data}-{label}",
            valid=dict.fromkeys(METRICS, valid),
            test=dict.fromkeys(METRICS, test),
            **more,
        )
        (folder / "config.yaml").write_text(config or "backbone: {name: lightgcn}\n")
        shift = 0.01 * np.random.default_rng(len(label)).normal(size=40)
        values = dict.fromkeys(METRICS, test + shift)
        save_user_metrics(folder / "test_users.npz", UserMetrics(np.arange(40), values))
        return Method(label, (folder,), base, data)

    return method


def test_validation_stands_beside_test_and_its_choice_is_marked(make, tmp_path):
    """Test prefers the other method: that is said, and is not the choice."""
    table = study_table([make("a", 0.3, 0.1), make("b", 0.2, 0.4)], METRICS)
    lines = format_terminal(table)
    assert [line.split() for line in lines[:5]] == [
        ["planted,", "test", "R@20", "N@20"],
        ["a", "*", "0.1000", "0.1000"],
        ["validation", "0.3000", "0.3000"],
        ["b", "0.4000", "0.4000"],
        ["validation", "0.2000", "0.2000"],
    ]
    text = " ".join(lines)
    assert "Validation chooses a (*), by Recall@20. On test b has more" in text
    assert "| a      | **0.3000** \\* |" in format_markdown(table)
    page = write_study(tmp_path, table).read_text()
    assert '<th scope="col">validation Recall@20</th>' in page
    assert page.count("<small>chosen</small>") == 1
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["chosen"]) for row in rows[::2]] == [("a", "True"), ("b", "False")]
    assert float(rows[0]["valid_mean"]) == 0.3


def test_where_both_splits_agree_nothing_is_said_of_test(make):
    text = " ".join(
        format_terminal(study_table([make("a", 0.3, 0.4), make("b", 0.2, 0.1)], METRICS))
    )
    assert "Validation chooses a (*)" in text
    assert "choosing on test" not in text


def test_a_tie_on_validation_is_told(make):
    """The first one is marked, and the others are named."""
    table = study_table([make("a", 0.3, 0.4), make("b", 0.3, 0.1)], METRICS)
    assert "chooses a (*), by Recall@20, level with b." in " ".join(format_terminal(table))


def test_every_data_set_has_its_own_choice(make):
    methods = [make(n, v, 0.1, data=d) for d, n, v in
               (("x", "a", 0.3), ("x", "b", 0.2), ("y", "a", 0.1), ("y", "b", 0.2))]  # fmt: skip
    text = " ".join(format_terminal(study_table(methods, METRICS)))
    assert "On x, validation chooses a" in text
    assert "On y, validation chooses b" in text


def test_a_table_of_validation_marks_no_choice(make):
    table = study_table([make("a", 0.3, 0.1), make("b", 0.2, 0.4)], METRICS, "valid")
    assert "*" not in " ".join(format_terminal(table))


def test_a_best_epoch_that_is_the_last_one_is_told(make, tmp_path):
    history = [{"epoch": e, "valid/recall@20": 0.1} for e in (1, 2, 3)]
    ended = make("ended", 0.2, 0.2, history=history, best_epoch=3)
    done = make("done", 0.3, 0.3, history=history, best_epoch=2)
    table = study_table([ended, done], METRICS)
    text = " ".join(format_terminal(table))
    assert "Not converged, the best epoch is the last one trained: ended (1 of 1 runs)." in text
    write_tables(tmp_path, table)
    cells = json.loads((tmp_path / "table.json").read_text())["cells"]
    assert {cell["method"]: cell["unconverged_runs"] for cell in cells} == {"ended": 1, "done": 0}
    assert "3 of 3, not converged" in write_study(tmp_path, table).read_text()


def test_the_last_evaluated_epoch_counts_where_not_all_are_evaluated(make):
    history = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "valid/recall@20": 0.1}, {"epoch": 3}]
    table = study_table([make("a", 0.2, 0.2, history=history, best_epoch=2)], METRICS)
    assert len(table.blocks[0].rows[0].unconverged) == 1


def test_settings_that_differ_are_shown_by_their_values(make, tmp_path):
    fast = "backbone: {name: bpr, dim: 64, own: 1}\ntraining: {learning_rate: 0.003}\nseed: 0\n"
    slow = "backbone: {name: ncl, dim: 64}\ntraining: {learning_rate: 0.001}\nseed: 1\n"
    methods = [make("a", 0.1, 0.1, config=fast), make("b", 0.1, 0.1, config=slow)]
    table = study_table(methods, METRICS)
    (setting,) = differing_settings(table.blocks[0])
    assert setting.key == "training.learning_rate"
    assert setting.methods == {"0.003": ("a",), "0.001": ("b",)}
    assert settings_lines(table)[2] == "  training.learning_rate: 0.003 (a), 0.001 (b)"
    page = write_study(tmp_path, table).read_text()
    assert "Settings that differ" in page
    same = study_table([methods[0], Method("c", methods[0].folders)], METRICS)
    assert settings_lines(same) == []


def test_many_methods_of_one_value_are_all_others(make):
    configs = {"a": 2, **dict.fromkeys("bcdef", 1)}
    methods = [
        make(label, 0.1, 0.1, config=f"training: {{patience: {value}}}\n")
        for label, value in configs.items()
    ]
    lines = settings_lines(study_table(methods, METRICS))
    assert lines[-1] == "  training.patience: 2 (a), 1 (all others)"


def test_a_method_is_tested_against_any_other(make, tmp_path):
    """Beside its base; p values are corrected over all of these differences together."""
    methods = [
        make("gcn", 0.1, 0.10),
        make("gcn+cross", 0.1, 0.30, base="gcn"),
        make("gcn+mine", 0.1, 0.50, base="gcn"),
    ]
    alone = study_table(methods, METRICS)
    table = study_table(methods, METRICS, against="gcn+cross")
    assert (len(alone.differences), len(table.differences)) == (4, 8)
    cell = {row.label: row.cells["recall@20"] for row in table.blocks[0].rows}
    mine = cell["gcn+mine"].against
    assert mine.gain == pytest.approx(0.5 / 0.3 - 1)
    assert mine.difference.mean == pytest.approx(0.2, abs=0.01)
    assert mine.mark == "‡"
    assert cell["gcn"].against.gain < 0
    assert cell["gcn+cross"].against is None
    lines = [line.split() for line in format_terminal(table)]
    assert ["vs", "gcn+cross", "+66.7%‡", "+66.7%‡"] in lines
    assert "differs from its base or gcn+cross" in " ".join(format_terminal(table))
    assert "vs gcn+cross" in format_markdown(table)
    files = {file.suffix: file.read_text() for file in write_tables(tmp_path, table)}
    assert r"+66.7\%$^{\ddagger}$" in files[".tex"]
    found = json.loads(files[".json"])["cells"][-1]
    assert found["against"] == "gcn+cross"
    assert found["against_p_t_test_holm"] < 0.01
    assert "gcn<wbr>+mine" not in files[".md"]


def test_the_base_itself_is_not_tested_twice(make):
    methods = [make("gcn", 0.1, 0.1), make("gcn+cross", 0.1, 0.3, base="gcn")]
    assert len(study_table(methods, METRICS, against="gcn").differences) == 2
