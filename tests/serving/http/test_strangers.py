"""Users without history: their vectors were never trained, and nothing is ranked by these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossalign.cli import main
from crossalign.serving import Recommender

STRANGER = "20"
"""A number between those of the users, without an interaction."""


@pytest.fixture(scope="module", params=["none", "cooccurrence"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """User u has five of the items u to u + 7 of 16; with evidence in lists, and without."""
    folder = tmp_path_factory.mktemp("strangers")
    data = folder / "toys"
    data.mkdir()
    rng = np.random.default_rng(0)
    rows = [
        (user, (user + item) % 16, max(0, place - 2))
        for user in (*range(12), 21)
        for place, item in enumerate(rng.permutation(8)[:5])
    ]
    lines = ["userID\titemID\tx_label", *("\t".join(map(str, row)) for row in rows)]
    (data / "toys.inter").write_text("\n".join(lines) + "\n")
    np.save(data / "text_feat.npy", rng.normal(size=(16, 4)).astype(np.float32))
    run = ["train", str(data), "--backbone", "bpr", "--set", "training.epochs=1", "--quiet"]
    if request.param != "none":
        run += ["--set", f"evidence.kind={request.param}", "--set", "evidence.weight=1"]
    assert main([*run, "--out", str(folder / "run")]) == 0
    assert main(["export", str(folder / "run"), "--out", str(folder / "shop")]) == 0
    return folder / "shop"


@pytest.fixture
def ask(served: Callable[..., object], shop: Path) -> object:
    return served(shop)


def ids(ranked: dict) -> list[str]:
    return [item["id"] for item in ranked["items"]]


def test_their_lists_are_of_popular_items_with_a_word(ask, shop) -> None:
    """As `recommend` makes them, beside the lists of others in the order of the request."""
    users = ["3", STRANGER, "7", STRANGER]
    answer = ask.post("/lists/users", {"users": users, "k": 4}).json()
    expected = Recommender.load(shop).recommend(["3", STRANGER, "7"], 4)
    for user, ranked in zip(users, answer["lists"], strict=True):
        mine = expected[expected["user"] == user]
        assert ids(ranked) == list(mine["item"])
        scores = [item["score"] for item in ranked["items"]]
        np.testing.assert_allclose(scores, mine["score"], rtol=1e-5)
        assert (ranked["note"] is not None) == (user == STRANGER)
    assert "no history: these are the items most bought" in answer["lists"][1]["note"]
    alone = ask.post("/lists/users", {"users": [STRANGER], "k": 4}).json()
    assert alone["lists"] == answer["lists"][1:2]


def test_their_lists_keep_to_filters(ask) -> None:
    whole = ids(ask.post("/lists/users", {"users": [STRANGER], "k": 16}).json()["lists"][0])
    body = {"users": [STRANGER], "k": 5, "only": [*sorted(whole[3:9]), "gone"]}
    body["without"] = [whole[4], "lost"]
    answer = ask.post("/lists/users", body).json()
    assert ids(answer["lists"][0]) == [whole[3], *whole[5:9]]
    assert answer["unknown"] == ["gone", "lost"]


def test_a_reason_says_that_the_list_is_everybodys(ask) -> None:
    ranked = ask.post("/lists/users", {"users": [STRANGER], "k": 6}).json()["lists"][0]
    answer = ask.post("/why", {"user": STRANGER, "item": ids(ranked)[4]}).json()
    assert answer["rank"] == 5
    assert answer["score"] == ranked["items"][4]["score"]
    assert answer["nearest"] == []
    assert answer["note"] == ranked["note"]


def test_new_items_suit_nobody_of_whom_nothing_is_known(ask) -> None:
    item = {"features": {"text": [1.0, 0, 0, 0]}}
    placed = ask.post("/new", {"items": [item], "k": 100}).json()["items"][0]
    audience = [one["user"] for one in placed["audience"]]
    assert sorted(audience, key=int) == [*map(str, range(12)), "21"]
    refused = ask.post("/new", {"items": [item], "users": ["3", STRANGER]})
    assert refused.status == 422
    assert "has no history" in refused.json()["detail"]
