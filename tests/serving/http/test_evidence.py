"""Lists over HTTP carry the evidence of an export, exactly as those of `Recommender` do."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from service_process import Service

from crossalign.checksums import sealed
from crossalign.errors import DataError
from crossalign.serving import Recommender
from crossalign.serving.http import store as module
from crossalign.serving.http.store import Store
from crossalign.serving.layout import ABOUT, EVIDENCE

USERS = ["3", "7", "12", "3"]
HISTORIES = [["12", "40", "7"], ["5"]]
BOTH = pytest.mark.parametrize("evidence", [True, False])


@pytest.fixture
def asgi(served, export_with_evidence: Path):
    """The export, served with its evidence."""
    return served(export_with_evidence)


@pytest.fixture
def both(served, export_with_evidence: Path) -> Callable[[bool], tuple[Any, Recommender]]:
    """The service and the recommender that its lists are those of, with evidence and without."""

    def make(evidence: bool) -> tuple[Any, Recommender]:
        loaded = Recommender.load(export_with_evidence, evidence=evidence)
        return served(export_with_evidence, evidence=evidence), loaded

    return make


def same(ranked: dict[str, Any], expected: pd.DataFrame) -> None:
    """The list of an answer is that of a recommender."""
    assert [item["id"] for item in ranked["items"]] == list(expected["item"])
    scores = [item["score"] for item in ranked["items"]]
    np.testing.assert_allclose(scores, expected["score"], rtol=1e-4, atol=1e-6)


@BOTH
@pytest.mark.parametrize("k", [7, 100])
def test_lists_of_users_are_those_of_the_recommender(both, evidence, k) -> None:
    """Repeated users too, within the candidates of evidence and beyond them."""
    asgi, shop = both(evidence)
    answer = asgi.post("/lists/users", {"users": USERS, "k": k}).json()
    for user, ranked in zip(USERS, answer["lists"], strict=True):
        same(ranked, shop.recommend([user], k))


@BOTH
def test_lists_of_histories_are_those_of_the_recommender(both, evidence) -> None:
    asgi, shop = both(evidence)
    answer = asgi.post("/lists/histories", {"histories": HISTORIES, "k": 30}).json()
    for history, ranked in zip(HISTORIES, answer["lists"], strict=True):
        same(ranked, shop.recommend_for(history, 30))


def test_evidence_changes_lists_and_not_what_is_similar(both) -> None:
    """Otherwise lists that leave it out would pass all that stands above."""
    answers = []
    for evidence in (True, False):
        asgi, _ = both(evidence)
        bodies = {
            "/lists/users": {"users": USERS},
            "/lists/histories": {"histories": HISTORIES},
            "/similar": {"items": ["12", "5"]},
        }
        answers.append([asgi.post(path, body).json()["lists"] for path, body in bodies.items()])
    for kind, (with_it, without) in enumerate(zip(*answers, strict=True)):
        assert (with_it == without) == (kind == 2)


def test_filters_choose_as_the_recommender_does_and_leave_out_of_its_list(both) -> None:
    asgi, shop = both(True)
    whole = list(shop.recommend(["3"], 100)["item"])
    only = whole[2:60:2]
    body = {"users": ["3"], "k": 9, "only": [*only, "no-such"]}
    same(asgi.post("/lists/users", body).json()["lists"][0], shop.recommend(["3"], 9, among=only))
    body = {"users": ["3"], "k": 5, "without": whole[:3]}
    rest = shop.recommend(["3"], 8).iloc[3:]
    same(asgi.post("/lists/users", body).json()["lists"][0], rest)
    nothing = {"users": ["3"], "only": ["no-such"]}
    assert asgi.post("/lists/users", nothing).json()["lists"][0]["items"] == []


@pytest.mark.parametrize("whose", [{"user": "3"}, {"history": HISTORIES[0]}])
def test_a_reason_is_told_in_the_numbers_of_the_evidence(asgi, export_with_evidence, whose) -> None:
    """The score is the model's and what is added; added is weight, spread and evidence."""
    users = "user" in whose
    path = "/lists/users" if users else "/lists/histories"
    body = {"users": ["3"]} if users else {"histories": [HISTORIES[0]]}
    ranked = asgi.post(path, {**body, "k": 100}).json()["lists"][0]["items"]
    alone = Recommender.load(export_with_evidence, evidence=False)
    model = alone.recommend(["3"], 100) if users else alone.recommend_for(HISTORIES[0], 100)
    candidates = set(model["item"][:20])
    model = model.set_index("item")["score"]
    for rank in (1, 5, 20, 30, len(ranked)):
        item = ranked[rank - 1]
        why = asgi.post("/why", {"item": item["id"], **whose}).json()
        told = why["evidence"]
        assert why["rank"] == rank
        assert why["score"] == pytest.approx(item["score"], rel=1e-4)
        assert told["model"] == pytest.approx(model[item["id"]], rel=1e-4)
        assert told["model"] + told["added"] == pytest.approx(why["score"], rel=1e-4)
        assert told["candidate"] == (item["id"] in candidates)
        added = told["weight"] * told["spread"] * told["evidence"] * told["candidate"]
        assert told["added"] == pytest.approx(added, rel=1e-5)


def test_a_reason_names_the_items_of_the_history_that_say_most(asgi, export_with_evidence) -> None:
    """By kind as the lists of the export have it, the kinds weighed by their spread."""
    shop = Recommender.load(export_with_evidence)
    assert shop.evidence is not None
    user, item = int(shop.users.get_loc("3")), "12"
    row = int(shop.items.get_loc(item))
    has = shop.evidence.history[[user]].toarray()[0]
    lists = {name: own.toarray() for name, own in shop.evidence.lists.items()}
    assert set(lists) == {"cooccurrence", "ease"}
    weighty = sum(own[:, row] / (has @ own).std() for own in lists.values())
    best = [j for j in np.argsort(-weighty, kind="stable") if has[j]][:4]
    told = asgi.post("/why", {"item": item, "user": "3", "n": 4}).json()["evidence"]
    assert [saying["id"] for saying in told["sayings"]] == [shop.items[j] for j in best]
    for saying, j in zip(told["sayings"], best, strict=True):
        assert saying["says"] == pytest.approx({k: own[j, row] for k, own in lists.items()})


def test_without_evidence_reasons_have_none(both) -> None:
    asgi, shop = both(False)
    item = shop.recommend(["3"], 4)["item"][3]
    why = asgi.post("/why", {"item": item, "user": "3"}).json()
    assert (why["rank"], why["evidence"]) == (4, None)


@BOTH
def test_a_new_item_stands_where_the_recommender_puts_it(both, evidence) -> None:
    asgi, shop = both(evidence)
    widths = shop.content_map.widths
    made = {name: torch.randn(1, width, generator=torch.Generator().manual_seed(0)) * 3
            for name, width in widths.items()}  # fmt: skip
    features = {name: row[0].tolist() for name, row in made.items()}
    body = {"items": [{"features": features}], "users": ["3", "7"]}
    places = asgi.post("/new", body).json()["items"][0]["places"]
    lists = shop.with_items(["new"], made).recommend(["3", "7"], 101)
    expected = lists[lists["item"] == "new"]
    assert [place["rank"] for place in places] == list(expected["rank"])
    np.testing.assert_allclose([place["score"] for place in places], expected["score"], rtol=1e-4)


def test_a_service_says_whether_lists_carry_evidence(served, both, export) -> None:
    with_it, without, none = both(True)[0], both(False)[0], served(export)
    expected = {"kinds": ["cooccurrence", "ease"], "weight": 1.0, "candidates": 20}
    assert with_it.get("/about").json()["evidence"] == expected
    for asgi, state in ((with_it, True), (without, False), (none, False)):
        assert asgi.get("/health").json() == {"status": "ok", "evidence": state}
        assert state or asgi.get("/about").json()["evidence"] is None


def test_damaged_evidence_is_refused(export_with_evidence, tmp_path, monkeypatch) -> None:
    """By the digest, by what it holds, and where it is missing."""
    monkeypatch.setattr(module, "_check_apart", lambda _, folder: module.check_export(folder))
    live = shutil.copytree(export_with_evidence, tmp_path / "live")
    (tmp_path / "store").mkdir()
    store = Store(live, tmp_path / "store")
    store.take()
    arrays = dict(np.load(live / EVIDENCE))
    about = json.loads((live / ABOUT).read_text())
    wrong = arrays["ease.indices"].copy()
    wrong[-1] = 100_000
    np.savez(live / EVIDENCE, **{**arrays, "ease.indices": wrong})
    with pytest.raises(DataError, match=r"evidence\.npz is not the file"):
        store.take()
    for content in ({**arrays, "ease.indices": wrong}, {"history.indptr": np.arange(3)}):
        np.savez(live / EVIDENCE, **content)
        (live / ABOUT).write_text(json.dumps(sealed({**about, "sha256": {}})))
        with pytest.raises(DataError, match=str(live)):
            store.take()
    (live / EVIDENCE).unlink()
    context = multiprocessing.get_context("spawn")
    (live / ABOUT).write_text(json.dumps(sealed({**about, "sha256": {}, "dataset": "again"})))
    assert "refused a new export" in str(store.look(context))


def test_the_command_serves_with_evidence_or_without(export_with_evidence: Path) -> None:
    for arguments, carried in (((), True), (("--without-evidence",), False)):
        with Service(export_with_evidence, *arguments) as service:
            address = f"http://127.0.0.1:{service.port}/health"
            with urllib.request.urlopen(address) as answer:
                assert json.load(answer) == {"status": "ok", "evidence": carried}
