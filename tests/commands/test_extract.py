"""`crossalign extract` from the command line: it writes data, and refuses in one line."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crossalign.cli import main
from crossalign.datasets import load_dataset

ENCODERS = """
import os
import signal
from pathlib import Path

SEEN = Path("seen.txt")


def letters(texts, extra="h"):
    already = len(SEEN.read_text().splitlines()) if SEEN.exists() else 0
    if already >= int(os.environ.get("DIES_AT", 10**9)):
        os.kill(os.getpid(), signal.SIGKILL)
    with SEEN.open("a") as file:
        file.writelines(text + "\\n" for text in texts)
    return [[text.count(letter) + 1.0 for letter in "abcdefg" + extra] for text in texts]


def colours(images):
    return [[value + 1.0 for value in image.resize((1, 1)).getpixel((0, 0))] for image in images]
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with items, purchases and pictures; item 03 has no title, 05 a damaged picture."""
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "encoders_of_a_test.py").write_text(ENCODERS)
    titles = ["bag", "cap", "", "face cage", "dad"]
    lines = [f"0{n},{title},pictures/{n}.png" for n, title in enumerate(titles, 1)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title,photo", *lines]) + "\n")
    (tmp_path / "pictures").mkdir()
    for number in range(1, 6):
        image.new("RGB", (9, 9), (40 * number, 9, 9)).save(tmp_path / f"pictures/{number}.png")
    broken = tmp_path / "pictures" / "5.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    rows = [f"{user},0{item}" for user in "uvwxyz" for item in range(1, 6)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


OWN = "--encoder text=encoders_of_a_test:letters --encoder image=encoders_of_a_test:colours"


def run(line: str) -> int:
    return main(shlex.split(line))


def test_extracted_features_train_and_items_without_content_are_masked(shop, capsys):
    assert run(f"extract items.csv --text title --image photo {OWN} --quiet") == 0
    out = capsys.readouterr().out
    assert "text: 4 items, 8 numbers each; written to text_feat.npz" in out
    assert "without: 03 (has none)" in out
    assert "without: 05 (no readable image (" in out
    data = load_dataset(shop)
    assert data.item_ids.tolist() == ["01", "02", "03", "04", "05"]
    assert data.missing["text"].tolist() == [False, False, True, False, False]
    assert data.missing["image"].tolist() == [False, False, False, False, True]
    short = "--set training.epochs=1 --set backbone.dim=4 --quiet"
    assert run(f"train . --backbone lightgcn --alignment fettle --out run {short}") == 0
    facts = json.loads((shop / "run" / "metrics.json").read_text())["dataset_facts"]
    assert facts["modalities"] == ["image", "text"]


def test_names_make_modalities_of_their_own(shop):
    encoders = "--encoder {}=encoders_of_a_test:letters --set {}.extra=z"
    both = " ".join(encoders.format(name, name) for name in ("title", "place"))
    line = f"extract items.csv --text title=title --text place=photo {both} --out new"
    assert run(f"{line} --format parquet --quiet") == 0
    assert sorted(path.name for path in (shop / "new").glob("[!.]*")) == [
        "place_feat.json", "place_feat.parquet", "title_feat.json", "title_feat.parquet",
    ]  # fmt: skip
    record = json.loads((shop / "new" / "place_feat.json").read_text())
    assert record["encoder_options"] == {"extra": "z"}


def test_a_folder_alone_is_enough(shop):
    line = "extract --image pictures --encoder image=encoders_of_a_test:colours --quiet"
    assert run(f"{line} --out alone") == 0
    with np.load("alone/image_feat.npz") as found:
        assert sorted(found["ids"].tolist()) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("extract items.csv", "nothing to extract"),
        ("extract nowhere.csv --text title", "nowhere.csv: no such file"),
        ("extract items.csv --text titel", "has no column 'titel'"),
        ("extract items.csv --image nowhere", "has no column 'nowhere'"),
        ("extract --image nowhere --out x", "no such folder"),
        ("extract --image pictures", "say with --out"),
        ("extract items.csv --text title --text photo", "modality 'text' stands twice"),
        ("extract items.csv --text id=title", "'id' is no name for a modality"),
        ("extract items.csv --text title --encoder txt=timm", "did you mean 'text'"),
        ("extract items.csv --text title --encoder text=tim", "did you mean 'timm'"),
        ("extract items.csv --text title --encoder text=timm", "reads image, not text"),
        ("extract items.csv --text title --set text.modl=x", "did you mean 'model'"),
        ("extract items.csv --text title --set model=x", "write it as NAME.KEY=VALUE"),
        ("extract items.csv --text title --set image.model=x", "unknown modality 'image'"),
        ("extract items.csv --text title --id-column sku", "no column 'sku'"),
        ("extract items.csv --text title --batch-size 0", "not a positive integer"),
        ("extract --ducho visual --out x", "write it as NAME=FOLDER"),
        ("extract --ducho visual=nowhere --out x", "nowhere: no such folder"),
        (f"extract items.csv --text title --image photo {OWN} --out items.csv", "is a file"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(shop, capsys, line, message):
    before = sorted(shop.rglob("*_feat*"))
    assert run(line + " --quiet") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(shop.rglob("*_feat*")) == before


def test_a_killed_command_goes_on(shop):
    """SIGKILL in the middle: what was encoded stays, and the same command finishes it."""
    lines = [f"{n},{'abc' * (n % 7)} {n}" for n in range(200)]
    (shop / "many.csv").write_text("\n".join(["item,title", *lines]) + "\n")
    line = "extract many.csv --text title --encoder text=encoders_of_a_test:letters"
    line += " --batch-size 4 --out many --quiet"
    killed = subprocess.run(
        [sys.executable, "-m", "crossalign", *shlex.split(line)],
        env=os.environ | {"DIES_AT": "80"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (shop / "many" / "text_feat.npz").exists()
    assert run(line) == 0
    with np.load("many/text_feat.npz") as found:
        assert found["features"].shape == (200, 8)
    assert [path.suffix for path in (shop / "many").glob(".*")] == [".vectors"]
    seen = (shop / "seen.txt").read_text().splitlines()
    assert len(seen) == len(set(seen)) == 200
