"""`--help` of every command: an example that can be typed, and every option there is."""

from __future__ import annotations

import re
import shlex
from importlib import metadata

import pytest

from crossalign.cli import main
from crossalign.commands import make_parser
from crossalign.config import section_help
from crossalign.encoders import EncoderOptions

Capture = pytest.CaptureFixture[str]


def shown(capsys: Capture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as leaving:
        main([*arguments, "--help"])
    assert leaving.value.code == 0
    return capsys.readouterr().out


def test_every_command_shows_one_example_that_its_parser_takes(capsys: Capture) -> None:
    names = re.findall(r"^    (\w+) ", shown(capsys), re.MULTILINE)
    assert len(names) >= 15
    for name in names:
        (example,) = re.findall(r"^example: (.*)$", shown(capsys, name), re.MULTILINE)
        program, command, *rest = shlex.split(example)
        assert (program, command) == ("crossalign", name)
        make_parser().parse_args([command, *rest])


def test_the_version_is_that_of_the_distribution(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"crossalign {metadata.version('crossalign')}\n"


def test_the_demo_needs_no_argument() -> None:
    assert make_parser().parse_args(["demo"]).out == "runs/demo"


def test_encode_lists_the_options_of_the_encoder_and_of_the_data(capsys: Capture) -> None:
    out = shown(capsys, "encode")
    for option in section_help(EncoderOptions):
        assert f"  {option.key} = {option.default}\n" in out
    assert "Width of the tokens" in out
    assert "data.modalities" in out
