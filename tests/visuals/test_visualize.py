"""Maps, gaps and neighbours show what the views hold, and the page holds all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from crossalign.cli import main
from crossalign.config import load_config
from crossalign.errors import ConfigError, RunError
from crossalign.pipeline import load_aligned_run, train
from crossalign.probes import Views, run_views
from crossalign.probes.geometry import gap
from crossalign.visuals import (
    MapOptions,
    items_picture,
    joint_map,
    nearest_items,
    pairs_picture,
    run_stages,
    visualize,
)

SMALL = ["data.planted_users=150", "data.planted_items=100", "training.epochs=1"]
PCA = MapOptions(method="pca", sample=20, pairs=15)


def unit(rows: torch.Tensor) -> torch.Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


@pytest.fixture
def views() -> Views:
    """30 items, of which the last ten lack their text."""
    draw = torch.Generator().manual_seed(0)
    items = {name: unit(torch.randn(30, 4, generator=draw)) for name in ("id", "image", "text")}
    present = {name: torch.ones(30, dtype=torch.bool) for name in items}
    present["text"][20:] = False
    items["text"][20:] = 0
    users = unit(torch.randn(12, 4, generator=draw))
    pairs = torch.stack([torch.arange(36) % 12, torch.arange(36) * 7 % 30])
    return Views(users, items, present, pairs)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A backbone alone, and aligned."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("none", "fettle"):
        config = load_config(None, SMALL, alignment=name)
        train(config, folder / name, progress=False)
    return {"alone": folder / "none", "aligned": folder / "fettle"}


def test_principal_components_are_those_of_all_groups_together() -> None:
    draw = torch.Generator().manual_seed(1)
    rows = {"a": torch.randn(8, 5, generator=draw), "b": 3 + torch.randn(6, 5, generator=draw)}
    places = joint_map(rows, PCA)
    assert {name: xy.shape for name, xy in places.items()} == {"a": (8, 2), "b": (6, 2)}
    stacked = torch.cat(list(rows.values())).double().numpy()
    centred = stacked - stacked.mean(axis=0)
    want = np.linalg.svd(centred, full_matrices=False)[1][:2]
    got = np.linalg.norm(np.concatenate(list(places.values())), axis=0)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_map_by_tsne_is_the_same_every_time_and_follows_the_seed() -> None:
    rows = {"a": torch.randn(30, 5, generator=torch.Generator().manual_seed(2))}
    options = MapOptions(perplexity=5)
    once, again = joint_map(rows, options)["a"], joint_map(rows, options)["a"]
    np.testing.assert_array_equal(once, again)
    assert np.isfinite(once).all()


def test_a_perplexity_that_the_rows_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="perplexity 30 needs more than the 8 rows"):
        joint_map({"a": torch.randn(8, 3)}, MapOptions())


def test_umap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install umap-learn"):
        joint_map({"a": torch.randn(8, 3)}, MapOptions(method="umap"))


def test_views_of_different_widths_share_no_map() -> None:
    with pytest.raises(RunError, match=r"different widths \(user 3, image 4\)"):
        joint_map({"user": torch.randn(8, 3), "image": torch.randn(8, 4)}, PCA)


def test_a_map_of_items_leaves_out_what_an_item_lacks(views: Views) -> None:
    picture = items_picture(views, (), PCA)
    assert len(picture.ids["id"]) == 20
    assert torch.equal(picture.ids["image"], picture.ids["id"])
    assert picture.ids["text"].max() < 20
    assert [len(picture.places[name]) for name in picture.ids] == [
        len(ids) for ids in picture.ids.values()
    ]


def test_a_map_of_pairs_shows_users_and_the_content_of_what_they_took(views: Views) -> None:
    picture = pairs_picture(views, PCA)
    assert list(picture.places) == ["user", "image", "text"]
    taken = {(user, item) for user, item in views.pairs.T.tolist()}
    for item in picture.ids["image"].tolist():
        assert any((user, item) in taken for user in picture.ids["user"].tolist())


def test_gaps_of_pairs_are_measured_on_the_drawn_pairs(views: Views) -> None:
    """Mean cosine of each user with the image of their item, over the sampled pairs."""
    picture = pairs_picture(views, MapOptions(method="pca", pairs=36))
    users, items = views.pairs
    want = (views.user[users] * views.items["image"][items]).sum(dim=1).mean()
    assert picture.gaps[0].cosine == pytest.approx(float(want), abs=1e-6)
    known = items < 20
    want = (views.user[users[known]] * views.items["text"][items[known]]).sum(dim=1).mean()
    assert picture.gaps[1].cosine == pytest.approx(float(want), abs=1e-6)


def test_a_run_without_content_shows_users_and_items(views: Views) -> None:
    alone = Views(views.user, {"id": views.items["id"]}, {"id": views.present["id"]}, views.pairs)
    assert list(pairs_picture(alone, PCA).places) == ["user", "id"]


def test_nearest_items_are_those_of_a_loop(views: Views) -> None:
    found = nearest_items(views, 3, 4)
    for name, near in found.items():
        table = views.items[name]
        others = [i for i in range(30) if i != 3 and views.present[name][i]]
        want = sorted(others, key=lambda i: -float(table[i] @ table[3]))[:4]
        assert [n.item for n in near] == want
        assert near[0].cosine == pytest.approx(float(table[want[0]] @ table[3]), abs=1e-6)


def test_an_item_without_the_view_has_no_neighbours_in_it(views: Views) -> None:
    assert nearest_items(views, 25, 4)["text"] == []
    assert len(nearest_items(views, 25, 4)["image"]) == 4


def test_before_training_is_what_training_starts_from(runs: dict[str, Path]) -> None:
    """The same projectors, up to what one epoch changes; the trained stage is the stored run."""
    _, _, (before, after) = run_stages(runs["aligned"])
    assert (before.label, after.label) == ("before training", "after training")
    stored = run_views(*load_aligned_run(runs["aligned"])[1:])
    assert torch.equal(after.views.items["image"], stored.items["image"])
    likeness = (before.views.items["image"] * after.views.items["image"]).sum(dim=1)
    assert 0.9 < likeness.mean() < 1 - 1e-6
    assert before.geometry.gaps[0] == gap(before.views, "id", "image")


def test_two_runs_on_other_interactions_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    config = load_config(None, [*SMALL, "data.planted_seed=1"])
    train(config, tmp_path / "other", progress=False)
    with pytest.raises(RunError, match="not trained on the same interactions"):
        run_stages(runs["aligned"], tmp_path / "other")


def test_the_command_writes_a_page_and_its_numbers(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    titles = tmp_path / "names.csv"
    titles.write_text("item,title\n3,<Third> & last\n")
    arguments = ["visualize", str(runs["aligned"]), "--against", str(runs["alone"]), "--quiet"]
    arguments += ["--method", "pca", "--items", "3,42", "--titles", str(titles), "--out"]
    assert main([*arguments, str(tmp_path / "maps")]) == 0
    out = capsys.readouterr().out
    assert (
        max(
            map(
                len,
                out.replace(str(tmp_path), "")
                .replace(str(runs["alone"]), "")
                .replace(str(runs["aligned"]), "")
                .splitlines(),
            )
        )
        <= 80
    )

    numbers = json.loads((tmp_path / "maps" / "visuals.json").read_text())
    before, after = numbers["stages"]
    assert list(before["items"]) == ["id"]
    assert list(after["items"]) == ["id", "image", "text"]
    assert after["run"] == str(runs["aligned"])
    page = (tmp_path / "maps" / "visuals.html").read_text()
    gaps = after["geometry"]["gaps"]
    assert all(f"<td>{found['cosine']:.3f}</td>" in page for found in gaps)
    assert "3 · &lt;Third&gt; &amp; last" in page
    near = after["nearest"]["42"]["image"][0]
    assert f"{numbers['names'][str(near['item'])]} <small>{near['cosine']:.3f}" in page.replace(
        "&lt;Third&gt; &amp; last", "<Third> & last"
    )
    assert "crossalign visualize" in page
    colors = re.findall(r"var\(--(series-\d)\)", page)
    assert {"series-0", "series-1", "series-2", "series-7"} <= set(colors)


def test_a_run_without_content_has_nothing_to_show(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no view of its items but their ids \(lightgcn\)"):
        visualize(runs["alone"], tmp_path / "maps", options=PCA, progress=False)
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--items", "100"], "planted has no item '100'"),
        (["--title-columns", "a,b"], "give --titles FILE too"),
        (["--perplexity", "0"], "option 'perplexity' is 0.0"),
        (["--against", "nowhere"], "nowhere is not a run folder"),
        (["--titles", "nowhere.csv"], "cannot be read"),
    ],
)
def test_mistakes_get_one_line(
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    quick = ["--method", "pca", "--quiet", "--out", str(tmp_path)]
    assert main(["visualize", str(runs["aligned"]), *quick, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
