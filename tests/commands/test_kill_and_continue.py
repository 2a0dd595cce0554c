"""Every command that takes long can be killed: the same command again gives the same tables."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("commands_under_fire.py")
CONFIG = """
backbone: {name: lightgcn, dim: 8, n_layers: 1}
alignment: {name: cross, n_prototypes: 8}
training: {epochs: 2}
data: {planted_users: 60, planted_items: 40}
evaluation: {ks: [20]}
"""
BPR = """
backbone: {name: bpr, dim: 8}
training: {epochs: 3}
data: {planted_users: 60, planted_items: 40}
evaluation: {ks: [20]}
"""
SPACE = "training.learning_rate: {low: 0.001, high: 0.1, log: true}\nbackbone.n_layers: [1, 2]\n"
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
    "train": ["train", "--config", "FILE", "--out", "run", "--quiet"],
    "compare": ["compare", "FILE", "BPR", "--jobs", "2", *ONCE],
    "tune": [
        "tune", "FILE", "--space", "SPACE", "--trials", "4", "--quiet", "--out", "study",
    ],
    "neighbors": ["neighbors", "planted", "-o", "near.npz", "--quiet"],
    "export": ["export", "RUN", "--out", "shop"],
    "encode": ["encode", "planted", "-o", "unified_feat.npy", "--encoder", "epochs=3", "--quiet"],
    "visualize": ["visualize", "RUN", "--perplexity", "5", "--quiet", "--out", "study"],
}  # fmt: skip
WITH_TIMES = {"timings.jsonl", "checkpoint.pt", "trials.db"}
FIGURES = "report-figures"
LEFT_OUT = ("seconds", "created", "checksum", "command")
"""Keys of times, of what is over them, and of the command, which is another where a run goes on."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Surroundings in which no library starts a thread of its own: the script forks."""
GOES_ON = {"train": {"again": ["train", "--resume", "run", "--quiet"], "begun": "run/config.yaml"}}
"""How a command goes on that is not simply given again, and the file from which on it does."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A configuration, and where the fixture `fire` leaves a run of it."""
    folder = tmp_path_factory.mktemp("given")
    return write_given(folder)


def write_given(folder: Path) -> dict[str, str]:
    """Files that commands read: word in `COMMANDS` -> path."""
    files = {"FILE": CONFIG, "BPR": BPR, "SPACE": SPACE}
    for name, text in files.items():
        (folder / f"{name.lower()}.yaml").write_text(text)
    paths = {name: str(folder / f"{name.lower()}.yaml") for name in files}
    return {**paths, "RUN": str(folder / "run")}


@pytest.fixture(scope="module")
def fire(given: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The script that kills; one for all commands, since it takes long to start."""
    train = ["train", "--config", given["FILE"], "--out", given["RUN"], "--quiet"]
    maps = ["visualize", given["RUN"], "--method", "pca", "--quiet", "--out", "maps"]
    script = subprocess.Popen(
        [sys.executable, SCRIPT, json.dumps([train, maps])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | ONE_THREAD,
    )  # fmt: skip
    yield script
    script.communicate(timeout=60)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that holds no times; of the others, the rest. Hidden leftovers are files too."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        timed = any((file.parent / other).is_file() for other in ("metrics.json", "trials.db"))
        if not file.is_file() or file.name in WITH_TIMES:
            continue
        if timed and file.name == "report.html":
            continue
        if file.parent.name == FIGURES and (file.parents[1] / "metrics.json").is_file():
            continue  # the script draws none, but processes that it starts do
        found[name] = file.read_bytes()
        if file.suffix == ".json":
            found[name] = json.dumps(_timeless(json.loads(found[name]))).encode()
    return found


def _timeless(value: Any) -> Any:
    """A JSON value without what `LEFT_OUT` names."""
    if isinstance(value, list):
        return [_timeless(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {k: _timeless(v) for k, v in value.items() if k not in LEFT_OUT}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_goes_on_to_the_same_files(
    name: str, given: dict[str, str], fire: subprocess.Popen[str], tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    words = [given.get(word, word) for word in COMMANDS[name]]
    asked = {"arguments": words, "place": str(tmp_path), "seed": seed, **GOES_ON.get(name, {})}
    assert fire.stdin is not None
    assert fire.stdout is not None
    fire.stdin.write(json.dumps(asked) + "\n")
    fire.stdin.flush()
    answer = fire.stdout.readline()
    assert answer, fire.communicate()[1]
    peace, under_fire = contents(tmp_path / "peace"), contents(tmp_path / "fire")
    assert len(peace) >= 2  # what is printed, and a file
    assert under_fire.keys() == peace.keys(), f"seed {seed}, killed at {answer}"
    differing = [name for name in peace if peace[name] != under_fire[name]]
    assert differing == [], f"seed {seed}, killed at {answer}"
