"""Lists for people: titles beside ids, something for newcomers, and no export lost unasked."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from crossalign.cli import main
from crossalign.errors import ConfigError, RunError
from crossalign.serving import Recommender, export_run

USERS = 12


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """User u buys the items u to u + 4 of 16; user 20 is a number without an interaction."""
    folder = tmp_path_factory.mktemp("lists")
    data = folder / "toys"
    data.mkdir()
    rows = [(u, (u + i) % 16, max(0, i - 2)) for u in (*range(USERS), 21) for i in range(5)]
    lines = ["userID\titemID\tx_label", *("\t".join(map(str, row)) for row in rows)]
    (data / "toys.inter").write_text("\n".join(lines) + "\n")
    (data / "titles.csv").write_text('item,title\n3,"Ball, red"\n5,Kite\n')
    run = ["train", str(data), "--backbone", "bpr", "--set", "training.epochs=1", "--quiet"]
    assert main([*run, "--out", str(folder / "run")]) == 0
    assert main(["export", str(folder / "run"), "--out", str(folder / "shop")]) == 0
    return folder


def test_lists_have_the_titles_of_the_data(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = Recommender.load(shop / "shop").recommend(["0"], 16)
    titles = dict(zip(lists["item"], lists["title"], strict=True))
    assert titles["5"] == "Kite"
    assert set(titles.values()) == {"Kite", ""}  # user 0 has item 3, the ball
    assert main(["recommend", str(shop / "shop"), "--history", "5", "-k", "15"]) == 0
    assert "Ball, red" in capsys.readouterr().out


def test_someone_without_history_gets_the_popular_items_and_a_word(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bought = pd.read_csv(shop / "shop" / "items.csv")["interactions"]
    best = [str(item) for item in bought.sort_values(ascending=False, kind="stable").index[:3]]
    command = ["recommend", str(shop / "shop"), "-k", "3"]
    assert main([*command, "--newcomer"]) == 0
    told = capsys.readouterr()
    rows = [line.split()[:3] for line in told.out.splitlines()[1:]]
    assert [row[1] for row in rows] == best
    assert [float(row[2]) for row in rows] == [bought[int(item)] for item in best]
    assert "nothing is known of a newcomer" in told.err

    assert main([*command, "--users", "1,20"]) == 0
    told = capsys.readouterr()
    rows = [line.split() for line in told.out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "1", "1", "20", "20", "20"]
    assert [row[2] for row in rows[3:]] == best
    assert told.err.count("has no history") == 1
    assert "user '20' has no history" in told.err


def test_order_and_repeats_of_users_are_kept_around_a_newcomer(shop: Path) -> None:
    found = Recommender.load(shop / "shop").recommend(["20", "2", "1"], 2)
    assert found["user"].tolist() == ["20", "20", "2", "2", "1", "1"]
    alone = Recommender.load(shop / "shop").recommend(["2", "1"], 2)
    assert found["item"].tolist()[2:] == alone["item"].tolist()


def test_an_unknown_user_is_still_refused(shop: Path) -> None:
    with pytest.raises(ConfigError, match="give --history or --newcomer"):
        Recommender.load(shop / "shop").recommend(["nobody"], 2)


def test_an_export_of_another_run_is_replaced_only_when_told(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "shop"
    export_run(shop / "run", out)
    export_run(shop / "run", out)  # of the same run
    about = json.loads((out / "about.json").read_text())
    other = tmp_path / "other"
    (shop / "run").rename(other)
    try:
        with pytest.raises(RunError, match=r"holds the export of .*run: .* --replace"):
            export_run(other, out)
        assert json.loads((out / "about.json").read_text()) == about
        assert main(["export", str(other), "--out", str(out), "--replace"]) == 0
        assert json.loads((out / "about.json").read_text())["run"] == str(other)
    finally:
        other.rename(shop / "run")
