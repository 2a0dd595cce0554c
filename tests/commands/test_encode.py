"""`crossalign encode` writes features that training reads, and says what they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossalign.cli import main
from crossalign.datasets import DataOptions, load_dataset
from crossalign.graphs import dataset_hash

PLANTED = {"planted_users": 150, "planted_items": 100}
SMALL = [f"--set=data.{key}={value}" for key, value in PLANTED.items()]
ENCODER = ["--encoder", "dim=8", "--encoder", "epochs=1", "--encoder=device=cpu", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `unified_feat.npy`, its description, and the features with a modality hidden."""
    folder = tmp_path_factory.mktemp("encoded")
    file = str(folder / "unified_feat.npy")
    where = ["-o", file, "--without", str(folder / "without")]
    assert main(["encode", "planted", *where, *SMALL, *ENCODER, "--seed", "4"]) == 0
    return folder


def test_the_file_holds_one_row_an_item_and_its_description_says_where_from(folder: Path) -> None:
    unified = np.load(folder / "unified_feat.npy")
    assert (unified.shape, unified.dtype) == ((100, 8), np.float32)
    assert np.isfinite(unified).all()
    about = json.loads((folder / "unified_feat.json").read_text())
    assert "surrogate" in about["what"]
    assert about["data_hash"] == dataset_hash(
        load_dataset("planted", options=DataOptions(**PLANTED))
    )
    assert (about["seed"], about["encoder"]["dim"], about["encoder"]["epochs"]) == (4, 8, 1)
    assert about["held_out"].keys() == about["mean_predictor"].keys()
    assert {path.suffix for path in folder.iterdir()} == {".npy", ".json", ""}


def test_training_reads_the_file_alone(folder: Path, tmp_path: Path) -> None:
    chosen = [f"--set=data.features.unified={folder / 'unified_feat.npy'}"]
    chosen += ["--set=data.modalities=[unified]", "--set=training.epochs=1", "--quiet"]
    out = str(tmp_path / "run")
    assert main(["train", "planted", "--backbone", "vbpr", "--out", out, *SMALL, *chosen]) == 0
    facts = json.loads((tmp_path / "run" / "metrics.json").read_text())["dataset_facts"]
    assert facts["modalities"] == ["unified"]


def test_features_with_a_modality_hidden_are_those_that_masking_reads(folder: Path) -> None:
    options = DataOptions(
        **PLANTED,
        features={"unified": str(folder / "unified_feat.npy")},
        modalities=("unified",),
        mask_ratio=1.0,
        mask_features=str(folder / "without"),
    )
    masked = load_dataset("planted", options=options).features["unified"].numpy()
    variants = [np.load(folder / "without" / f"unified_without_{m}.npy") for m in ("image", "text")]
    taken = [(masked == variant).all(axis=1) for variant in variants]
    assert (taken[0] ^ taken[1]).all()
    assert taken[0].any()
    assert taken[1].any()


def test_items_with_ids_of_their_own_are_keyed_by_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "shop"
    data.mkdir()
    rows = [f"u{n % 7},i{n % 11}" for n in range(77)]
    (data / "interactions.csv").write_text("\n".join(["user,item", *rows]) + "\n")
    known = np.array([f"i{n}" for n in range(9)])
    values = np.random.default_rng(0).standard_normal((9, 6)).astype(np.float32)
    np.savez(data / "smell_feat.npz", ids=known, features=values)
    assert main(["encode", str(data), "-o", str(tmp_path / "u.npy"), *ENCODER]) == 2
    assert "name an .npz" in capsys.readouterr().err
    file = tmp_path / "u.npz"
    assert main(["encode", str(data), "-o", str(file), *ENCODER]) == 0
    read = load_dataset(data, options=DataOptions(features={"unified": str(file)}))
    lacking = {str(read.item_ids[row]) for row in read.missing["unified"].nonzero().squeeze(1)}
    assert lacking == {"i9", "i10"}
    with np.load(file) as arrays:
        order = {name: row for row, name in enumerate(arrays["ids"])}
        for row, name in enumerate(read.item_ids):
            if name in order:
                expected = arrays["features"][order[name]]
                assert read.features["unified"][row].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "u.txt"], "written as .npy or .npz"),
        (["-o", "u.npy", "--encoder", "dims=3"], "unknown encoder option 'dims': did you mean"),
        (["-o", "u.npy", "--encoder", "dim"], "write it as key=value"),
        (["-o", "u.npy", "--encoder", "mask_share=1"], "option 'encoder.mask_share' is 1"),
        (["-o", "u.npy", "--set", "data.modalities=[]"], "no features to encode"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", "planted", *SMALL, *arguments, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
