"""Lists over HTTP are those of the export: exact, filtered, alike in a batch and alone."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest

from crossalign.serving import Recommender
from crossalign.serving.http import lists
from crossalign.serving.http.scoring import BatchedIndex, best_rows


@pytest.fixture(scope="module")
def shop(export: Path) -> Recommender:
    return Recommender.load(export)


def ids(ranked) -> list[str]:
    return [item["id"] for item in ranked["items"]]


def test_lists_of_users_are_those_of_the_recommender(asgi, shop) -> None:
    users = ["3", "7", "3"]
    answer = asgi.post("/lists/users", {"users": users, "k": 7}).json()
    expected = shop.recommend(users[:2], 7)
    for user, ranked in zip(users, answer["lists"], strict=True):
        mine = expected[expected["user"] == user]
        assert ids(ranked) == list(mine["item"])
        scores = [item["score"] for item in ranked["items"]]
        np.testing.assert_allclose(scores, mine["score"], rtol=1e-5)


def test_ids_may_be_given_as_numbers(asgi) -> None:
    given = asgi.post("/lists/users", {"users": [3]}), asgi.post("/lists/users", {"users": ["3"]})
    assert given[0].status == 200
    assert given[0].body == given[1].body


def test_a_history_gets_the_list_of_someone_new_and_unknown_items_are_named(asgi, shop) -> None:
    body = {"histories": [["12", "new", "40"], ["5"]], "k": 6}
    answer = asgi.post("/lists/histories", body).json()
    assert ids(answer["lists"][0]) == list(shop.recommend_for(["12", "40"], 6)["item"])
    assert ids(answer["lists"][1]) == list(shop.recommend_for(["5"], 6)["item"])
    assert [ranked["unknown"] for ranked in answer["lists"]] == [["new"], []]


def test_filters_choose_and_leave_out(asgi, shop) -> None:
    whole = ids(asgi.post("/lists/users", {"users": ["3"], "k": 100}).json()["lists"][0])
    only = whole[5:40:7]
    few = asgi.post("/lists/users", {"users": ["3"], "k": 100, "only": [*only, "no-such"]}).json()
    assert ids(few["lists"][0]) == only
    assert few["unknown"] == ["no-such"]
    body = {"users": ["3"], "k": 3, "without": whole[:4]}
    assert ids(asgi.post("/lists/users", body).json()["lists"][0]) == whole[4:7]
    both = {"users": ["3"], "k": 3, "only": whole[:6], "without": whole[:5]}
    assert ids(asgi.post("/lists/users", both).json()["lists"][0]) == whole[5:6]
    none = {"users": ["3"], "only": ["no-such"]}
    assert asgi.post("/lists/users", none).json()["lists"][0]["items"] == []


def test_a_list_that_needs_more_than_an_index_gives_is_the_same(asgi, monkeypatch) -> None:
    body = {"users": ["3", "9"], "k": 20, "without": ["1", "2"]}
    before = asgi.post("/lists/users", body).json()
    monkeypatch.setattr(lists, "WIDEST", 1)
    after = asgi.post("/lists/users", body).json()
    assert [ids(ranked) for ranked in after["lists"]] == [ids(one) for one in before["lists"]]


def test_similar_items_are_those_with_the_largest_cosines(asgi, shop) -> None:
    unit = shop.item / shop.item.norm(dim=1, keepdim=True)
    cosine = unit @ unit[int(shop.items.get_loc("12"))]
    best = [name for name in shop.items[cosine.argsort(descending=True).numpy()] if name != "12"]
    answer = asgi.post("/similar", {"items": ["12"], "k": 9}).json()
    assert ids(answer["lists"][0]) == best[:9]
    scores = [item["score"] for item in answer["lists"][0]["items"]]
    np.testing.assert_allclose(scores, sorted(cosine.tolist(), reverse=True)[1:10], rtol=1e-5)


def test_requests_that_wait_are_searched_together_and_answered_apart(asgi) -> None:
    index = asgi.service.serving.ranking._index
    sizes = []
    search = index._search
    index._search = lambda batch: sizes.append(len(batch)) or search(batch)

    async def together():
        bodies = [json.dumps({"users": [str(u)], "k": 1 + u % 5}).encode() for u in range(40)]
        return await asyncio.gather(*(asgi.ask("POST", "/lists/users", b) for b in bodies))

    answers = asgi.run(together())
    assert max(sizes) > 5
    for user, answer in enumerate(answers):
        alone = asgi.post("/lists/users", {"users": [str(user)], "k": 1 + user % 5})
        assert ids(answer.json()["lists"][0]) == ids(alone.json()["lists"][0])


def test_a_search_that_fails_fails_for_those_who_wait_and_for_no_other() -> None:
    index = BatchedIndex(faiss.IndexFlatIP(4), ThreadPoolExecutor(1))
    index.index.add(np.eye(4, dtype=np.float32))

    async def run():
        wrong = asyncio.gather(index.search(np.ones((1, 3)), 2), return_exceptions=True)
        assert isinstance((await wrong)[0], AssertionError)
        return await index.search(np.eye(4)[:2], 1)

    assert asyncio.run(run()).rows.tolist() == [[0], [1]]


def test_exact_search_reads_a_table_in_blocks_and_orders_ties_by_row(monkeypatch) -> None:
    monkeypatch.setattr("crossalign.serving.http.scoring.ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    table, queries = rng.integers(-2, 3, (50, 3)) * 1.0, rng.integers(-2, 3, (5, 3)) * 1.0
    scale = rng.integers(1, 3, 50) * 1.0
    for width in (1, 6, 20, 50, 80):
        found = best_rows(queries, table, width, scale)
        scores = queries @ table.T * scale
        for row in range(5):
            order = sorted(range(50), key=lambda i, row=row: (-scores[row, i], i))[:width]
            kept = min(width, 50)
            assert sorted(found.scores[row], reverse=True) == list(scores[row][order])
            assert list(found.rows[row]) == order[:kept]


def test_a_reason_names_the_nearest_items_of_the_history_and_who_has_both(asgi, shop) -> None:
    answer = asgi.post("/why", {"item": "12", "user": "3", "n": 3}).json()
    users, first = shop.seen_from, int(shop.users.get_loc("3"))
    has = [set(shop.seen[users[u] : users[u + 1]].tolist()) for u in range(len(shop.users))]
    unit = shop.item / shop.item.norm(dim=1, keepdim=True)
    row = int(shop.items.get_loc("12"))
    by_cosine = sorted(has[first], key=lambda i: -float(unit[i] @ unit[row]))[:3]
    assert [near["id"] for near in answer["nearest"]] == [shop.items[i] for i in by_cosine]
    for near, item in zip(answer["nearest"], by_cosine, strict=True):
        others = [u for u in range(len(has)) if u != first and item in has[u]]
        assert near["users"] == len(others)
        assert near["both"] == sum(row in has[u] for u in others)
    whole = ids(asgi.post("/lists/users", {"users": ["3"], "k": 100}).json()["lists"][0])
    if "12" in whole:
        assert answer["rank"] == whole.index("12") + 1


def test_a_reason_for_someone_new_has_the_rank_of_the_list(asgi) -> None:
    whole = asgi.post("/lists/histories", {"histories": [["1", "2"]], "k": 100}).json()["lists"][0]
    item = ids(whole)[8]
    answer = asgi.post("/why", {"item": item, "history": ["1", "2"]}).json()
    assert answer["rank"] == 9
    assert answer["score"] == pytest.approx(whole["items"][8]["score"], rel=1e-5)
    assert asgi.post("/why", {"item": item}).status == 422


def test_users_items_and_histories_can_be_looked_up(asgi, shop) -> None:
    assert asgi.get("/users?search=14").json()["users"] == [
        name for name in shop.users if name.startswith("14")
    ]
    found = asgi.get("/items?search=9").json()["items"]
    assert [item["id"] for item in found] == [n for n in shop.items if n.startswith("9")]
    row = int(shop.users.get_loc("3"))
    has = shop.seen[shop.seen_from[row] : shop.seen_from[row + 1]]
    past = asgi.get("/history?user=3").json()
    assert [item["id"] for item in past["items"]] == list(shop.items[has.numpy()])
    assert asgi.get("/history?user=nobody").status == 404
