"""Layouts are recognised from files, and options that would do nothing are refused."""

import dataclasses

import numpy as np
import pytest

from crossalign.datasets import DataError, DataOptions, load_dataset
from crossalign.datasets.load import ALWAYS_READ, FORMATS
from crossalign.errors import ConfigError


def test_each_layout_is_recognised(write_inter, write_mmssl, tmp_path):
    (tmp_path / "interactions.csv").write_text("user,item\n" + "\n".join(["1,2", "1,3", "1,4"]))
    small = DataOptions(planted_users=60, planted_items=40)
    assert load_dataset(write_inter()).name == "toy"
    assert load_dataset(str(write_mmssl())).name == "mmssl"
    assert load_dataset(tmp_path).n_items == 3
    assert load_dataset("planted", options=small).n_users == 60


def test_missing_path_and_unknown_folder_say_what_is_expected(tmp_path):
    with pytest.raises(DataError, match="no such file or folder; give a data folder, or 'planted'"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"layout not recognised; .*\.inter.*trnMat.*interactions"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mmrec", "has no .inter file"),
        ("mmssl", "lacks trnMat.pkl, valMat.pkl, tstMat.pkl"),
        ("pairs", "has no pairs.tsv"),
        ("table", "has no interactions table"),
    ],
)
def test_layout_asked_for_must_be_there(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path, options=DataOptions(format=name))


def test_layout_that_does_not_exist_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown data.format 'mmrek': did you mean 'mmrec'"):
        load_dataset(tmp_path, options=DataOptions(format="mmrek"))


def test_options_without_effect_are_refused(write_inter):
    with pytest.raises(ConfigError, match="'swap_valid_test' has no effect on mmrec data"):
        load_dataset(write_inter(), options=DataOptions(swap_valid_test=True))
    with pytest.raises(ConfigError, match="'min_user_interactions' has no effect on mmrec data"):
        load_dataset(write_inter(), options=DataOptions(min_user_interactions=5))


def test_every_option_is_read_by_some_layout():
    read = set(ALWAYS_READ).union(*(layout.options for layout in FORMATS.values()))
    assert read == {field.name for field in dataclasses.fields(DataOptions)}


def test_options_are_typed_documented_and_closed():
    with pytest.raises(ConfigError):
        DataOptions(swap=True)
    with pytest.raises(ConfigError):
        DataOptions(split_seed=-1)
    fields = DataOptions.__pydantic_fields__
    assert [name for name, field in fields.items() if not field.description] == []


def test_reading_twice_gives_the_same(write_inter, features):
    folder = write_inter()
    np.save(folder / "smell_feat.npy", features)
    options = DataOptions(split="random", split_seed=5)
    first, second = (load_dataset(folder, options=options) for _ in range(2))
    assert first.train.tolist() == second.train.tolist()
    assert first.features["smell"].tolist() == second.features["smell"].tolist()
