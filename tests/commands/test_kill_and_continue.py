"""Every command that takes long can be killed: the same command again gives the same tables."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("commands_under_fire.py")
CONFIG = """
backbone: {name: lightgcn, dim: 8, n_layers: 1}
alignment: {name: cross, n_prototypes: 8}
training: {epochs: 2}
data: {planted_users: 60, planted_items: 40}
evaluation: {ks: [20]}
"""
ONCE = ["--seeds", "0", "--quiet", "--out", "study"]
COMMANDS = {
    "ablate": ["ablate", "FILE", "--variants", "ILA,ILA+CLA", *ONCE],
    "directions": ["directions", "FILE", "--policies", "none", "--thetas=0", *ONCE],
    "sensitivity": ["sensitivity", "--config", "FILE", "--vary", "neighbors.k=2", *ONCE],
    "robustness": [
        "robustness", "FILE", "--corruptions", "noisy_content", "--ratios", ".2", *ONCE,
    ],
    "controls": ["controls", "FILE", *ONCE],
    "mask-modality": ["probe", "--mask-modality", "--config", "FILE", "--ratios", "0,.5", *ONCE],
    "popularity": ["popularity", "RUN", "--groups", "2", "--quiet", "--out", "study"],
    "visualize": ["visualize", "RUN", "--perplexity", "5", "--quiet", "--out", "study"],
}  # fmt: skip
WITH_TIMES = {"timings.jsonl", "checkpoint.pt"}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A configuration, and where the fixture `fire` leaves a run of it."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "cross.yaml").write_text(CONFIG)
    return {"FILE": str(folder / "cross.yaml"), "RUN": str(folder / "run")}


@pytest.fixture(scope="module")
def fire(given: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The script that kills; one for all commands, since it takes long to start."""
    train = ["train", "--config", given["FILE"], "--out", given["RUN"], "--quiet"]
    maps = ["visualize", given["RUN"], "--method", "pca", "--quiet", "--out", "maps"]
    script = subprocess.Popen(
        [sys.executable, SCRIPT, json.dumps([train, maps])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    yield script
    script.communicate(timeout=60)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that holds no times; of the others, the rest.

    A killed writer leaves its hidden temporary file, which nobody reads.
    """
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        is_run = (file.parent / "metrics.json").is_file()
        if not file.is_file() or file.match(".*.tmp.*"):
            continue
        if file.name in WITH_TIMES or (is_run and file.name == "report.html"):
            continue
        found[name] = file.read_bytes()
        if file.name == "metrics.json":
            found[name] = json.dumps(json.loads(found[name]) | {"seconds": None}).encode()
    return found


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_killed_command_goes_on_to_the_same_files(
    arguments: list[str], given: dict[str, str], fire: subprocess.Popen[str], tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    words = [given.get(word, word) for word in arguments]
    assert fire.stdin is not None
    assert fire.stdout is not None
    fire.stdin.write(json.dumps({"arguments": words, "place": str(tmp_path), "seed": seed}) + "\n")
    fire.stdin.flush()
    answer = fire.stdout.readline()
    assert answer, fire.communicate()[1]
    peace, under_fire = contents(tmp_path / "peace"), contents(tmp_path / "fire")
    assert len(peace) > 2
    assert under_fire.keys() == peace.keys(), f"seed {seed}, killed at {answer}"
    differing = [name for name in peace if peace[name] != under_fire[name]]
    assert differing == [], f"seed {seed}, killed at {answer}"
