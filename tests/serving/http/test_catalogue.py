"""Titles and pictures come from a table of the operator's, and no other file can be had by it."""

from __future__ import annotations

import pytest

from crossalign.serving.http.catalogue import Catalogue
from crossalign.serving.http.options import ItemsFile

PNG = b"\x89PNG\r\n\x1a\n and so on"


@pytest.fixture
def items(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "good.png").write_bytes(PNG)
    (folder / "no.png").write_bytes(b"root:x:0:0")
    (tmp_path / "outside.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    files = {"1": "good.png", "2": "../outside.png", "3": "/etc/passwd", "4": "no.png",
             "5": "gone.png", "6": "link.png", "7": ""}  # fmt: skip
    rows = [f"{item},Title {item},{file}" for item, file in files.items()]
    (folder / "items.csv").write_text("\n".join(["item,name,photo", *rows]) + "\n")
    return ItemsFile(folder / "items.csv", picture="photo")


def test_only_images_below_the_folder_of_the_table_are_shown(items) -> None:
    catalogue = Catalogue.read(items)
    assert catalogue.titles["3"] == "Title 3"
    assert catalogue.picture("1") == (PNG, "image/png")
    for item in "234567":
        assert catalogue.picture(item) is None, item


def test_a_picture_is_asked_for_by_the_id_of_its_item_alone(served, export, items) -> None:
    asgi = served(export, items=items)
    found = asgi.get("/picture?item=1")
    assert (found.status, found.headers["content-type"], found.body) == (200, "image/png", PNG)
    for item in ("2", "3", "../items.csv", "good.png", "nobody"):
        assert asgi.get(f"/picture?item={item}").status == 404
    ranked = asgi.post("/lists/users", {"users": ["3"], "k": 50, "only": ["1", "2"]}).json()
    titles = {one["id"]: one["title"] for one in ranked["lists"][0]["items"]}
    assert titles == {one: f"Title {one}" for one in titles}
    assert titles
    found = asgi.get("/items?search=title%203").json()["items"]
    assert [item["id"] for item in found] == ["3"]
