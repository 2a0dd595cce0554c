"""The table of a study and its formats: the same numbers in every one of them."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from crossalign.evaluation.per_user import UserMetrics, save_user_metrics
from crossalign.report import format_markdown, format_terminal, study_table, write_tables
from crossalign.report.study_notes import table_notes

METRICS = ["recall@10", "recall@20", "ndcg@10", "ndcg@20"]
N_USERS = 40


@dataclass(frozen=True)
class Method:
    label: str
    folders: tuple[Path, ...]
    base: str | None = None
    data: str = ""
    reference: bool = False


@pytest.fixture
def make_method(make_run):
    """A method whose users all gain `gain` over a fixed draw, give or take a little."""

    def make(label, gain=0.0, *, seeds=2, users=True, noise=0.01, **more):
        folders = []
        for seed in range(seeds):
            base = np.random.default_rng(0).random((N_USERS, len(METRICS)))
            shift = noise * np.random.default_rng([seed, len(label)]).normal(size=base.shape)
            values = dict(zip(METRICS, (base + gain + shift).T, strict=True))
            means = {name: float(column.mean()) for name, column in values.items()}
            name = f"{more.get('data', '')}-{label}-{seed}"
            folder = make_run(name, seed=seed, test=means, valid=means)
            if users:
                file = folder / "test_users.npz"
                save_user_metrics(file, UserMetrics(np.arange(N_USERS), values))
            folders.append(folder)
        return Method(label, tuple(folders), **more)

    return make


@pytest.fixture
def table(make_method):
    """Two data sets, two backbones, one alignment that helps, and a reference line."""
    methods = [
        make_method(label, gain, base=base, data=data)
        for data in ("one", "two")
        for label, gain, base in (
            ("bpr", 0.0, None),
            ("bpr+cross", 0.05, "bpr"),
            ("ncl", 0.2, None),
            ("ncl+cross", 0.2, "ncl"),
        )
    ]
    methods.append(make_method("itemknn", 0.1, seeds=1, data="one", reference=True))
    return study_table(methods, METRICS)


def cell(table, block, label, metric="recall@20"):
    return next(c for b, r, m, c in table.cells() if (b.name, r.label, m) == (block, label, metric))


def test_what_helps_is_marked_and_what_does_not_is_not(table):
    assert cell(table, "one", "bpr+cross").mark == "‡"
    assert cell(table, "one", "ncl+cross").mark == ""
    found = cell(table, "one", "bpr+cross").difference
    assert found.low < 0.05 < found.high
    assert found.n_users == N_USERS


def test_p_values_are_corrected_over_the_whole_table(table, make_method):
    """Sixteen differences here, four in a table of one pair alone."""
    assert len(table.differences) == 16
    pair = [make_method("bpr-x"), make_method("bpr+y", 0.001, base="bpr-x")]
    alone = study_table(pair, METRICS)
    twice = study_table(
        [*pair, *(Method(m.label, m.folders, m.base, "again") for m in pair)], METRICS
    )
    small, large = (cell(t, "planted", "bpr+y").difference for t in (alone, twice))
    assert large.t_test > small.t_test
    assert (large.mean, large.low) == (small.mean, small.low)


def test_average_rows_are_means_over_the_backbones(table):
    gains = table.blocks[0].average_gains()
    expected = (cell(table, "one", "bpr+cross").gain + cell(table, "one", "ncl+cross").gain) / 2
    assert gains["cross"]["recall@20"] == pytest.approx(expected)
    assert set(gains) == {"cross"}


@pytest.mark.parametrize(
    ("base", "alignment", "said"),
    [
        ("lightgcn", "none", "the base, the backbone alone."),
        ("lightgcn-noisy-0.1", "none", "the base, the backbone alone on the same data."),
        ("lightgcn+fettle-one_way", "fettle", "the base, lightgcn+fettle-one_way."),
        ("mask_ratio=0.0", "none", "the base, mask_ratio=0.0."),
    ],
)
def test_the_note_says_what_percentages_are_relative_to(make_run, base, alignment, said):
    methods = [
        Method(base, (make_run("base", alignment=alignment),)),
        Method("other", (make_run("other"),), base),
    ]
    assert f"Percentages are relative to {said}" in table_notes(study_table(methods, METRICS))[0]


def test_older_runs_have_no_significance_and_the_note_says_so(make_method):
    methods = [
        make_method("bpr", users=False),
        make_method("bpr+cross", 0.05, base="bpr"),
        make_method("ncl"),
        make_method("ncl+cross", 0.05, base="ncl"),
    ]
    table = study_table(methods, METRICS)
    assert cell(table, "planted", "bpr+cross").difference is None
    assert cell(table, "planted", "bpr+cross").gain > 0
    assert cell(table, "planted", "ncl+cross").mark == "‡"
    assert table.without_users == ("bpr",)
    assert "older runs" in " ".join(format_terminal(table))


def test_validation_is_not_tested_for_significance(make_method):
    methods = [make_method("bpr"), make_method("bpr+cross", 0.05, base="bpr")]
    table = study_table(methods, METRICS, "valid")
    assert table.differences == []
    assert "†" not in "\n".join(format_terminal(table))


def test_the_terminal_shows_80_columns(table):
    lines = format_terminal(table)
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["one,", "test", "R@10", "R@20", "N@10", "N@20"]
    text = "\n".join(lines)
    assert re.search(r"bpr\+cross +0\.\d{4}±0\.\d{4}", text)
    assert re.search(r"vs bpr +\+\d+\.\d%‡", text)
    assert "two, test" in text
    assert "† p < 0.05, ‡ p < 0.01" in text


def test_methods_below_a_reference_line_are_named(table):
    text = " ".join(format_terminal(table))
    below = "below a reference line in some metric: bpr (itemknn), bpr+cross (itemknn)."
    assert f"On one, {below}" in text
    assert "On two, below" not in text


def test_markdown_has_a_block_of_columns_per_data_set(table):
    lines = format_markdown(table).splitlines()
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert rows[0][:3] == ["method", "one valid R@20", "one R@10"]
    assert rows[0][6:8] == ["two valid R@20", "two R@10"]
    by_label = {row[0]: row[1:] for row in rows}
    assert by_label["itemknn"][5:] == ["–"] * 5
    assert len(by_label["average +cross"]) == 10
    assert len({len(line) for line in lines}) == 1
    best = {row[0] for row in rows if row[2].startswith("**")}
    assert len(best) == 1
    assert best < {"ncl", "ncl+cross"}


def test_latex_is_a_booktabs_tabular(table, tmp_path):
    text = next(f for f in write_tables(tmp_path, table) if f.suffix == ".tex").read_text()
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert body[0] == r"\begin{tabular}{lcccccccccc}"
    assert [rule for rule in ("toprule", "midrule", "bottomrule") if rf"\{rule}" in text] == [
        "toprule", "midrule", "bottomrule",
    ]  # fmt: skip
    assert r"\multicolumn{5}{c}{two}" in text
    assert r"\cmidrule(lr){2-6}\cmidrule(lr){7-11}" in text
    rows = [line for line in body if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count(" & ") for line in rows} == {10}
    assert r"\%$^{\ddagger}$" in text
    assert "±" not in "".join(body)


def test_labels_are_escaped(make_method, tmp_path):
    table = study_table([make_method("a_b|c&d", data="x_y")], METRICS)
    files = {file.suffix: file.read_text() for file in write_tables(tmp_path, table)}
    assert r"a_b\|c&d" in files[".md"]
    assert r"a\_b|c\&d" in files[".tex"]
    assert r"{x\_y}" in files[".tex"]


def test_csv_and_json_hold_every_number(table, tmp_path):
    write_tables(tmp_path, table)
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    plain = json.loads((tmp_path / "table.json").read_text())
    assert len(lines) == len(plain["cells"]) == 9 * len(METRICS)
    found = {(c["data"], c["method"], c["metric"]): c for c in plain["cells"]}
    expected = cell(table, "two", "bpr+cross")
    aligned = found["two", "bpr+cross", "recall@20"]
    assert aligned["mean"] == expected.mean
    assert aligned["values"] == list(expected.values)
    assert aligned["p_t_test_holm"] == expected.difference.t_test
    assert aligned["ci_low"] < aligned["difference"] < aligned["ci_high"]
    assert len(aligned["folders"]) == 2
    assert found["one", "itemknn", "recall@20"]["sd"] is None
    line = next(x for x in lines if (x["data"], x["method"]) == ("two", "bpr+cross"))
    assert float(line["mean"]) == found["two", "bpr+cross", "recall@10"]["mean"]
    assert line["mark"] == "‡"
    assert {entry["data"] for entry in plain["average_gains"]} == {"one", "two"}
