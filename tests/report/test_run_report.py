"""What people see of a run, and what must not keep them from seeing it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from crossalign.errors import RunError
from crossalign.report import write_report
from crossalign.report.run_record import read_run

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags close in order; gathers text, headings, plots and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.plots: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action")]
        self.plots += [value for name, value in attrs if tag == "svg" and name == "aria-label"]

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


def read(run) -> Page:
    path = write_report(run)
    assert path == run / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_title_names_backbone_alignment_and_data(make_run):
    assert read(make_run()).headings[0] == "lightgcn + cross on planted"


def test_every_section_is_there(make_run):
    page = read(make_run())
    sections = ["Metrics", "Training", "Alignment", "Data and time", "Repeat this run"]
    assert [heading for heading in page.headings if heading in sections] == sections
    assert page.plots == [
        "Recall@20 on validation by epoch",
        "Loss of the backbone",
        "Loss of the alignment",
        "Directions between image and text",
        "Directions between image and id",
        "Learnt temperatures",
    ]


def test_headline_and_table_show_the_metrics(make_run):
    """Rows are metrics, columns cut-offs in numeric order, a dash where there is no number."""
    text = write_report(make_run()).read_text()
    assert "<b>0.1101</b><span>test Recall@20</span>" in text
    head, recall, ndcg = re.findall(r"<tr>.*?</tr>", text, re.DOTALL)[:3]
    assert re.findall(r">([^<]*)</th>", head) == ["", "@5", "@10", "@20"]
    assert re.findall(r">([^<]+)</t[hd]>", recall) == ["Recall", "0.0400", "0.0700", "0.1101"]
    assert re.findall(r">([^<]+)</t[hd]>", ndcg) == ["NDCG", "–", "–", "0.0512"]


def test_best_epoch_is_marked(make_run):
    assert "best: 0.1200 in epoch 2" in read(make_run()).text


def test_facts_time_command_configuration_and_versions(make_run):
    text = read(make_run()).text
    assert "12\u202f345" in text  # thousands apart
    assert "image, text" in text
    assert "train, median epoch2 s" in text
    for part in ("12.5 s", "--set alignment.gamma=0.2", "backbone: lightgcn", "2.13.0"):
        assert part in text


def test_the_file_is_self_contained(make_run):
    """No address but places within the page, and nothing that a browser would fetch."""
    run = make_run()
    page = read(run)
    text = (run / "report.html").read_text()
    assert all(address.startswith("#") for address in page.addresses)
    assert "://" not in text
    assert not re.search(r"@import|<script .|src=|fetch\(|<link|<iframe|url\((?!#)", text)


def test_plots_follow_the_colours_of_the_page(make_run):
    """No colour of its own, so that dark pages have light lines."""
    text = write_report(make_run()).read_text()
    svg = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--series-0)" in svg
    assert "var(--ink)" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) == set()
    variables = set(re.findall(r"var\((--[\w-]+)\)", text))
    assert variables <= set(re.findall(r"(--[\w-]+):", text))


def test_equal_runs_give_equal_reports(make_run):
    first, second = write_report(make_run("a")), write_report(make_run("b"))
    assert first.read_bytes() == second.read_bytes()


def test_html_in_names_is_text(make_run):
    hostile = "<script>alert('x')</script> & \"quoted\""
    run = make_run(
        backbone=hostile,
        dataset=hostile,
        command=hostile,
        versions={hostile: hostile},
        dataset_facts={hostile: hostile},
        history=[{"epoch": 1, f"loss/{hostile}": 0.5, f"diagnostics/temperature/{hostile}": 0.1}],
    )
    (run / "config.yaml").write_text(hostile)
    page = read(run)
    assert "<script>alert" not in (run / "report.html").read_text()
    assert page.text.count("alert('x')") >= 6


def test_monitor_in_a_label_is_escaped(make_run):
    history = [{"epoch": 1, 'valid/a"b<c>': 0.5}, {"epoch": 2, 'valid/a"b<c>': 0.6}]
    assert (
        'a"b<c> on validation by epoch' in read(make_run(monitor='a"b<c>', history=history)).plots
    )


def test_a_run_without_alignment_has_no_alignment_section(make_run):
    history = [{"epoch": e, "loss/bpr": 0.7 / e, "valid/recall@20": 0.1} for e in (1, 2)]
    page = read(make_run(alignment="none", history=history))
    assert page.headings[0] == "lightgcn on planted"
    assert "Alignment" not in page.headings
    assert "Loss of the alignment" not in page.plots


def test_old_runs_without_most_keys_are_reported(make_run):
    unknown = ["alignment", "dataset", "seed", "monitor", "best_epoch", "epochs", "valid"]
    later = ["seconds", "versions", "command", "dataset_facts"]
    run = make_run(**dict.fromkeys([*unknown, *later]))
    for name in ("config.yaml", "history.jsonl", "timings.jsonl"):
        (run / name).unlink()
    page = read(run)
    assert page.headings == ["lightgcn", "Metrics", "Test"]
    assert "0.1101" in page.text


def test_an_empty_metrics_object_is_reported(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    assert read(tmp_path).headings == ["run"]


def test_values_that_are_no_numbers_are_left_out_of_plots_and_dashed_in_tables(make_run):
    rows = [
        {"epoch": 1, "loss/bpr": float("nan"), "valid/recall@20": float("nan")},
        {"epoch": 2, "loss/bpr": 0.5, "valid/recall@20": None},
        {"epoch": 3, "loss/bpr": float("inf"), "valid/recall@20": "high"},
    ]
    test = {"recall@20": float("nan"), "ndcg@20": None}
    page = read(make_run(history=rows, test=test, valid={}))
    assert page.plots == ["Loss of the backbone"]
    assert page.text.count("–") == 4  # two tiles, two cells
    assert "nan" not in page.text.lower()


def test_loss_terms_that_are_always_zero_are_left_out(make_run):
    text = read(make_run()).text
    assert "dt" in text
    assert "cna_reg" not in text


@pytest.mark.parametrize(
    ("old", "today"),
    [
        (["align/cna", "align/reg"], ["align/cna", "align/cna_reg"]),
        (["align/user_item", "align/modalities"], ["align/cla_user_item", "align/cla_modalities"]),
        (
            ["align/cla2/user_item", "align/cla2/modalities"],
            ["align/cla2/cla_user_item", "align/cla2/cla_modalities"],
        ),
        (["align/cna/cna", "align/cna/reg"], ["align/cna/cna", "align/cna/cna_reg"]),
        (["bpr", "reg"], ["bpr", "reg"]),
        (["align/pull", "align/reg"], ["align/pull", "align/reg"]),
        (["align/cna", "align/cna_reg"], ["align/cna", "align/cna_reg"]),
        (["align/ila/cna", "align/reg"], ["align/ila/cna", "align/reg"]),
    ],
)
def test_terms_of_older_runs_have_the_names_of_today(make_run, old, today):
    """`reg` of a backbone or of another alignment is what it was."""
    written = {f"loss/{term}": float(value) for value, term in enumerate(old)}
    (epoch,) = read_run(make_run(history=[{"epoch": 1, **written}])).history
    assert epoch.losses == {name: float(value) for value, name in enumerate(today)}


def test_epochs_without_evaluation_do_not_break_the_validation_curve(make_run):
    rows = [{"epoch": 1, "loss/bpr": 0.7}, {"epoch": 2, "loss/bpr": 0.6, "valid/recall@20": 0.12}]
    assert "best: 0.1200 in epoch 2" in read(make_run(history=rows)).text


def test_a_missing_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(RunError, match=r"^no metrics\.json in .*: train there first") as error:
        write_report(tmp_path / "nowhere")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("metrics.json", '{"test": ', "metrics.json is not valid JSON"),
        ("metrics.json", "[1, 2]", "metrics.json does not hold a JSON object"),
        ("history.jsonl", '{"epoch": 1}\n{"epo', "history.jsonl, line 2 is not valid JSON"),
        ("timings.jsonl", "\n7\n", "timings.jsonl, line 2 does not hold a JSON object"),
        ("metrics.json", b"\xff\xfe\x00", "metrics.json is not UTF-8 text"),
        ("config.yaml", b"\xff\xfe\x00", "config.yaml is not UTF-8 text"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(make_run, name, content, where):
    run = make_run()
    (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunError, match=re.escape(where)) as error:
        write_report(run)
    assert "\n" not in str(error.value)
    assert not (run / "report.html").exists()
