"""Whatever cannot work is refused at once: one line, exit code 2, nothing trained or written."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from crossalign.cli import main

SMALL = "training: {epochs: 1}\ndata: {planted_users: 60, planted_items: 40}\n"
CROSS = "backbone: {name: lightgcn, dim: 8}\nalignment: {name: cross, n_prototypes: 8}\n"
BPR = "backbone: {name: bpr, dim: 8}\n"

STUDIES = {
    "compare": "compare cross.yaml",
    "search": "search planted --grid backbone.dim=4,8",
    "demo": "demo",
    "controls": "controls cross.yaml",
    "ablate": "ablate cross.yaml",
    "directions": "directions cross.yaml",
    "sensitivity": "sensitivity --config cross.yaml",
    "robustness": "robustness cross.yaml",
    "mask-modality": "probe --mask-modality --config cross.yaml",
}
ALL = {
    **STUDIES,
    "train": "train planted",
    "tune": "tune cross.yaml --trials 1",
    "probe": "probe planted",
    "probe a run": "probe --run run",
    "popularity": "popularity run",
    "visualize": "visualize run",
    "neighbors": "neighbors planted",
    "encode": "encode planted",
    "export": "export run",
    "recommend": "recommend empty",
}
FILES = {"neighbors": "/x.npz", "encode": "/x.npz", "recommend": "/x.csv"}
NOWHERE = {
    "a file": ("file", "is a file; choose another folder"),
    "in a file": ("file/new", "is a file; choose another folder"),
    "not writable": ("/proc/new", "choose another folder"),
}
SEEDS = {
    "empty": ("''", "not a list of seeds"),
    "letters": ("a,1", "not a list of seeds"),
    "negative": ("-1", "not a list of seeds"),
    "twice": ("1,0,1", "give each once"),
}
MATRIX = ("compare", "controls", "ablate", "directions", "robustness")
OF_A_MATRIX = {
    "nothing": ("", "give either configuration files or --backbones"),
    "both": ("cross.yaml --backbones bpr", "give either configuration files or --backbones"),
    "presets of files": ("cross.yaml --presets .", "belong to --backbones"),
    "alignments of files": ("cross.yaml --alignments bm3", "belong to --backbones"),
    "no presets": ("--backbones bpr --alignments fettle", "no --presets given"),
    "backbone": ("--backbones brp --defaults", "did you mean 'bpr'"),
    "alignment": ("--backbones bpr --alignments crss --defaults", "did you mean 'cross'"),
    "no backbones": ("--backbones '' --defaults", "not a list of names"),
    "a backbone twice": ("--backbones bpr,bpr --defaults", "give each once"),
    "no file": ("none.yaml", "none.yaml does not exist"),
}
OF_ONE = {
    "option": ("train planted --set training.epoch=2", "did you mean 'epochs'"),
    "reference": ("compare cross.yaml --references iasl", "did you mean 'ials'"),
    "no reference": ("compare cross.yaml --references ''", "unknown reference ''"),
    "no data": ("compare cross.yaml --data nowhere", "no such file or folder"),
    "no content": (
        "compare --backbones bpr --alignments none,fettle --defaults --data clicks.csv",
        "alignment 'fettle' needs content features",
    ),
    "no content for a backbone": (
        "compare --backbones bpr,vbpr --defaults --data clicks.csv", "'vbpr' needs content",
    ),
    "no grid": ("search planted", "give --grid"),
    "empty grid": ("search planted --grid backbone.dim=", "write it as key=value,value"),
    "grid of no option": ("search planted --grid backbone.dims=4,8", "did you mean 'dim'"),
    "grid of no section": ("search planted --grid a.b.c=4,8", "'a.b.c' cannot be varied"),
    "grid of seeds": ("search planted --grid seed=1,2", "'seed' cannot be varied"),
    "grid of names": ("search planted --grid backbone.name=bpr,ncl", "compare compares backbones"),
    "grid without alignment": ("search planted --grid alignment.weight=1", "cannot be varied"),
    "grid twice": ("search planted --grid backbone.dim=4 --grid backbone.dim=8", "stands twice"),
    "a value twice": ("search planted --grid backbone.dim=4,4", "give each value once"),
    "grid of no YAML": ("search planted --grid backbone.dim=[", "not plain YAML"),
    "grid backbone": ("search planted --backbone brp --grid backbone.dim=4", "did you mean 'bpr'"),
    "content twice": ("controls cross.yaml --set data.content=random", "data.content random"),
    "nothing to control": ("controls bpr.yaml", "has no alignment to control"),
    "not taken apart": ("ablate bpr.yaml", "takes apart fettle or cross, not 'none'"),
    "another alignment": ("ablate --backbones bpr --alignments bm3 --defaults", "not 'bm3'"),
    "taken apart twice": ("ablate cross.yaml cross.yaml", "two configurations"),
    "variant": ("ablate cross.yaml --variants ILB", "did you mean 'ILA'"),
    "no variants": ("ablate cross.yaml --variants ''", "not a list of names"),
    "a variant twice": ("ablate cross.yaml --variants ILA,ILA", "give each once"),
    "no directions": (
        "directions --backbones bpr --alignments infonce --defaults", "'infonce' has no directions",
    ),
    "policy": ("directions cross.yaml --policies oneway", "did you mean 'one_way'"),
    "no policies": ("directions cross.yaml --policies ''", "not a list of names"),
    "no rules": ("directions cross.yaml --policies none --thetas none", "nothing to compare"),
    "threshold": ("directions cross.yaml --thetas 2", "numbers of -1 to 1"),
    "no number": ("directions cross.yaml --thetas a", "'a' is not a list"),
    "a threshold twice": ("directions cross.yaml --thetas .5,.50", "give each once"),
    "end": ("directions cross.yaml --theta-of sourc", "did you mean 'source'"),
    "metric": ("directions cross.yaml --metric recal@20", "did you mean 'recall'"),
    "cut-off": ("robustness cross.yaml --metric recall@7", "add 7 to evaluation.ks"),
    "no cut-off": ("sensitivity --config cross.yaml --metric recall", "write it as 'recall@20'"),
    "nothing to vary": ("sensitivity --config bpr.yaml", "no alignment to vary"),
    "one grid": ("sensitivity --config cross.yaml --grid neighbors.k=1", "give --grid twice"),
    "unknown key": (
        "sensitivity --config cross.yaml --grid neighbors.kk=1 --grid neighbors.k=1",
        "did you mean 'k'",
    ),
    "vary and grid": ("sensitivity --vary neighbors.k=1 --grid neighbors.k=1", "not both"),
    "vary data": ("sensitivity --config cross.yaml --vary data.split=1", "cannot be varied"),
    "vary nothing new": ("sensitivity --config cross.yaml --vary neighbors.k=5", "give others"),
    "vary backbone": ("sensitivity --backbone brp --alignment fettle", "did you mean 'bpr'"),
    "corruption": ("robustness cross.yaml --corruptions noise", "unknown corruption 'noise'"),
    "no corruptions": ("robustness cross.yaml --corruptions ''", "not a list of names"),
    "ratio": ("robustness cross.yaml --ratios 1", "above 0 and below 1"),
    "no ratios": ("robustness cross.yaml --ratios 0", "no ratios"),
    "a ratio twice": ("robustness cross.yaml --ratios .1,.1", "give each once"),
    "corrupted content that nobody reads": (
        "robustness bpr.yaml --corruptions noisy_content", "no method reads content",
    ),
    "corrupted already": (
        "robustness cross.yaml --set data.corruption=noisy_content", "corruption",
    ),
    "masked content that nobody reads": (
        "probe --mask-modality --config bpr.yaml", "bpr reads no content",
    ),
    "mask ratio": ("probe planted --mask-modality --ratios 0,2", "shares of 0 to 1"),
    "mask ratio twice": ("probe planted --mask-modality --ratios 0,0", "different shares"),
    "masks of features": ("probe planted --backbone bpr", "belong to --mask-modality"),
    "a run and data": ("probe planted --run run", "a run knows its data"),
    "two probes": ("probe --run run --mask-modality", "not allowed with"),
    "clusters": ("probe --run run --clusters 1000", "choose 2 .. 39"),
    "empty folder": ("popularity empty", "empty is not a run folder"),
    "a run twice": ("popularity run run", "give each once"),
    "groups": ("popularity run --groups 1000", "ask for fewer groups"),
    "maps of ids": ("visualize alone", "no view of its items but their ids"),
    "maps of nothing": ("visualize empty", "empty is not a run folder"),
    "other data": ("visualize run --against alone-elsewhere", "not trained on the same"),
    "perplexity": ("visualize run --perplexity 500", "perplexity 500 needs more"),
    "item": ("visualize run --items 40", "no item '40'"),
    "no items": ("visualize run --items ''", "not a list of names"),
    "no trials": ("tune cross.yaml --trials 0", "'0' is not a positive integer"),
    "tuning seed": ("tune cross.yaml --trials 1 --seed -1", "not an integer of at least 0"),
    "no space": ("tune cross.yaml --trials 1 --space none.yaml", "none.yaml does not exist"),
    "encoder option": ("encode planted --encoder dims=4", "did you mean 'dim'"),
    "export of nothing": ("export empty", "holds no finished run"),
    "lists in no table": ("recommend empty", "does not end in .csv"),
    "encoder value": ("encode planted --encoder dim=[", "not plain YAML"),
}  # fmt: skip


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with configurations, three runs, data without content, a file, an empty folder."""
    folder = tmp_path_factory.mktemp("room")
    (folder / "cross.yaml").write_text(CROSS + SMALL)
    (folder / "bpr.yaml").write_text(BPR + SMALL)
    (folder / "file").write_text("")
    (folder / "empty").mkdir()
    clicks = [f"{user},{item}" for user in range(12) for item in range(user % 3, 10)]
    (folder / "clicks.csv").write_text("\n".join(["user,item", *clicks]) + "\n")
    elsewhere = "--set data.planted_seed=1"
    for name, rest in {"run": "cross", "alone": "bpr", "alone-elsewhere": "bpr"}.items():
        more = elsewhere.split() if "-" in name else []
        config, out = str(folder / f"{rest}.yaml"), str(folder / name)
        assert main(["train", "--config", config, "--out", out, "--quiet", *more]) == 0
    return folder


def table() -> list[object]:
    """Every command line with what its refusal says."""
    rows = {}
    for name, command in ALL.items():
        for what, (out, said) in NOWHERE.items():
            line = f"{command} --out {out}{FILES.get(name, '')}"
            rows[f"{name}: out is {what}"] = (line, said)
    for name, command in STUDIES.items():
        for what, (seeds, said) in SEEDS.items():
            rows[f"{name}: seeds {what}"] = (f"{command} --out new --seeds {seeds}", said)
    for name in MATRIX:
        for what, (given, said) in OF_A_MATRIX.items():
            rows[f"{name}: {what}"] = (f"{name} {given} --out new", said)
    for what, (command, said) in OF_ONE.items():
        rows[what] = (f"{command} --out new{'.npy' * command.startswith('encode')}", said)
    return [pytest.param(line, said, id=name) for name, (line, said) in rows.items()]


@pytest.mark.parametrize(("line", "said"), table())
def test_a_refusal_is_one_line_and_leaves_nothing(
    line: str,
    said: str,
    room: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(*_: object, **__: object) -> None:
        pytest.fail(f"{line}: trains")

    for place in ("crossalign.pipeline.fit", "crossalign.tuning.trials.fit"):
        monkeypatch.setattr(place, train)
    monkeypatch.setattr("crossalign.encoders.pretrain", train)
    monkeypatch.chdir(room)
    before = sorted(room.rglob("*"))
    quiet = [] if line.startswith(("train", "export")) else ["--quiet"]
    assert main([*shlex.split(line), *quiet]) == 2
    error = capsys.readouterr().err
    assert error.startswith("crossalign: ")
    assert said in error
    assert len(error.splitlines()) == 1
    assert sorted(room.rglob("*")) == before
