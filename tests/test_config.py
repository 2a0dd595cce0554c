"""Configuration: round trips, precise refusals, and overrides that do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossalign.config import load_config, option_help, parse_config, to_plain, to_yaml
from crossalign.errors import ConfigError

PRESETS = sorted((Path(__file__).parents[1] / "presets").rglob("*.yaml"))


def test_defaults_survive_a_round_trip_through_yaml(tmp_path: Path) -> None:
    config = parse_config({"alignment": "cross"})
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config))
    assert load_config(file) == config


def test_saved_configuration_writes_every_default_out() -> None:
    plain = to_plain(parse_config({}))
    assert plain["backbone"]["name"] == "lightgcn"
    assert plain["backbone"]["n_layers"] == 3
    assert plain["alignment"] == "none"
    assert plain["training"]["batch_size"] == 2048


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_shipped_preset_is_a_valid_configuration(file: Path) -> None:
    config = load_config(file)
    assert parse_config(to_plain(config)) == config


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"sead": 1}, "did you mean 'seed'"),
        ({"training": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"training": {"epochs": "many"}}, "epochs"),
        ({"training": 7}, "must be a mapping"),
        ({"backbone": "lightgnc"}, "did you mean 'lightgcn'"),
        ({"backbone": {"name": "lightgcn", "layers": 2}}, "did you mean 'n_layers'"),
        ({"backbone": {"name": "lightgcn", "n_layers": -1}}, "backbone.n_layers"),
        ({"backbone": {"n_layers": 2}}, "needs a name"),
        ({"alignment": "corss"}, "did you mean 'cross'"),
        ({"neighbors": {"score": "euclid"}}, "neighbors.score"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_options_are_refused_in_one_line_that_names_them(raw: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(raw)
    assert "\n" not in str(caught.value)


def test_overrides_set_nested_values_and_keep_the_rest() -> None:
    config = load_config(
        None, ["training.learning_rate=1e-2", "backbone.n_layers=1", "alignment.name=fettle"]
    )
    assert config.training.learning_rate == 0.01
    assert config.backbone.name == "lightgcn"
    assert config.backbone.options["n_layers"] == 1
    assert config.alignment is not None
    assert config.alignment.name == "fettle"


def test_choosing_another_backbone_drops_the_options_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("backbone: {name: lightgcn, n_layers: 1}\n")
    assert load_config(file, backbone="lightgcn").backbone.options["n_layers"] == 1
    assert "n_layers" not in load_config(file, backbone="bpr").backbone.options


def test_missing_and_malformed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    file = tmp_path / "broken.yaml"
    file.write_text("training: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(file)
    with pytest.raises(ConfigError, match="key=value"):
        load_config(None, ["training.epochs"])


def test_a_configuration_in_place_of_data_is_told_where_it_belongs() -> None:
    with pytest.raises(ConfigError, match=r"preset.yaml is a configuration, .* with --config"):
        load_config(None, path="preset.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alignment: off", "option 'alignment' must be a name or a mapping with one, not False"),
        ("backbone: [lightgcn]", "option 'backbone' must be a name or a mapping with one, not ["),
        ("seed: 1\nseed: 2", "'seed' stands twice: write it once"),
        (
            "alignment: {name: ila, weight: -1}",
            "option 'alignment.weight' is -1.0: choose",
        ),
        ("alignment: {name: ila, theta: .nan}", "option 'alignment.theta' is nan: choose a finite"),
    ],
)
def test_yaml_that_says_something_else_than_it_looks(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    assert message in str(refused.value)


def test_an_option_of_an_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'seed' is 1 and has no options"):
        load_config(None, ["seed=1", "seed.x=1"])
    (tmp_path / "latin.yaml").write_bytes("# \xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "latin.yaml")


def test_every_option_has_a_line_of_help() -> None:
    missing = [option.key for option in option_help() if not option.help]
    assert not missing
