"""One training from data to report, top to bottom.

    load -> build graphs -> make backbone and alignment -> fit -> evaluate -> save

Every step is a plain function that a notebook can call by itself.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .align import ALIGNERS, Alignment, alignment_directions
from .config import RunConfig, load_config, to_plain, to_yaml
from .datasets import Dataset, load_dataset
from .errors import ConfigError, RunError
from .evaluation import DirectionAgreement, Evaluator, Metrics, direction_agreement
from .fileio import write_text
from .graphs import (
    Neighbors,
    build_graph,
    cooccurrence_neighbors,
    dataset_hash,
    load_neighbors,
    save_neighbors,
)
from .graphs.dgl_import import DGLGraph
from .models import BACKBONES, Backbone, Representations
from .report import write_report
from .training import FitResult, fit, load_weights, seed_everything


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: run folder.
        backbone: with the best validation weights.
        alignment: likewise, or None.
        valid: validation metrics of the best epoch.
        test: test metrics of the best epoch.
    """

    folder: Path
    backbone: Backbone
    alignment: Alignment | None
    valid: Metrics
    test: Metrics


def train(
    config: RunConfig,
    folder: str | Path,
    *,
    resume: bool = False,
    progress: bool = True,
    command: str = "",
) -> Run:
    """Train what `config` says and leave everything in the run folder `folder`.

    Args:
        config: the whole configuration.
        folder: run folder; made if absent. Holds `config.yaml`, `history.jsonl`, checkpoints,
            `model.safetensors`, `metrics.json` and `report.html` afterwards.
        resume: continue an interrupted run of the same configuration and data.
        progress: show progress bars.
        command: command line to repeat the run, for the report.

    Raises:
        CrossalignError: anything the user can mend, in one line.
    """
    folder = Path(folder)
    started = time.perf_counter()
    dataset = load_dataset(config.path, options=config.data)
    fingerprint = run_fingerprint(config, dataset)
    _prepare_folder(folder, config, resume=resume)

    seed_everything(config.seed)
    graph = make_graph(config, dataset)
    backbone = make_backbone(config, graph, dataset)
    alignment = make_alignment(config, dataset, backbone)
    prepared = time.perf_counter()

    result = fit(
        backbone,
        dataset,
        config.training,
        alignment=alignment,
        seed=config.seed,
        run_dir=folder,
        resume=resume,
        fingerprint=fingerprint,
        progress=progress,
    )
    trained = time.perf_counter()

    valid, test = (evaluate_split(backbone, dataset, split, config) for split in ("valid", "test"))
    seconds = {
        "prepare": prepared - started,
        "train": trained - prepared,
        "evaluate": time.perf_counter() - trained,
    }
    summary = _summary(config, dataset, result, valid, test)
    summary |= {"seconds": seconds, "command": command, "versions": versions()}
    if alignment is not None and dataset.truth is not None:
        summary["directions"] = judge_directions(config, dataset, backbone, alignment).to_dict()
    write_text(folder / "metrics.json", json.dumps(summary, indent=2) + "\n")
    write_report(folder)
    return Run(folder, backbone, alignment, valid, test)


def load_run(folder: str | Path) -> tuple[RunConfig, Dataset, Backbone]:
    """Configuration, data set and trained backbone of a run folder.

    Raises:
        RunError: the folder is not a run, or its weights do not fit its data.
    """
    folder = Path(folder)
    if not (folder / "config.yaml").is_file():
        raise RunError(f"{folder} is not a run folder (no config.yaml): give the --out of a train")
    config = load_config(folder / "config.yaml")
    dataset = load_dataset(config.path, options=config.data)
    backbone = make_backbone(config, make_graph(config, dataset), dataset)
    load_weights(folder, backbone)
    return config, dataset, backbone


def make_graph(config: RunConfig, dataset: Dataset) -> DGLGraph:
    """The heterograph with the relations that the configured backbone reads."""
    relations = BACKBONES[config.backbone.name].cls.relations
    return build_graph(dataset, config.graph, relations=relations)


def make_backbone(config: RunConfig, graph: DGLGraph, dataset: Dataset) -> Backbone:
    """The configured backbone, freshly initialised from the global seed."""
    entry = BACKBONES[config.backbone.name]
    if entry.cls.needs_features and not dataset.features:
        raise ConfigError(
            f"backbone '{entry.name}' needs content features, but '{dataset.name}' has none: "
            "add <modality>_feat.npy files or choose another backbone"
        )
    return entry.cls(graph, dataset.features, **config.backbone.options)


def make_alignment(config: RunConfig, dataset: Dataset, backbone: Backbone) -> Alignment | None:
    """The configured alignment in the backbone's dimension, or None."""
    if config.alignment is None:
        return None
    if not dataset.features:
        raise ConfigError(
            f"alignment '{config.alignment.name}' needs content features, but '{dataset.name}' "
            "has none: add <modality>_feat.npy files or set alignment to none"
        )
    cls = ALIGNERS[config.alignment.name].cls
    own = backbone.modalities()
    data: dict[str, Any] = {
        "feature_dims": {m: t.shape[1] for m, t in dataset.features.items() if m not in own},
        "missing": dataset.missing,
    }
    if cls.needs_neighbors:
        data["neighbors"] = make_neighbors(config, dataset).ids
    return cls(backbone.representation_dim, dataset.modalities, **data, **config.alignment.options)


def make_neighbors(config: RunConfig, dataset: Dataset, *, progress: bool = False) -> Neighbors:
    """Co-occurrence neighbours of the training split: from the configured file, or computed."""
    options = config.neighbors
    if options.file is not None:
        data_hash = dataset_hash(dataset)
        stored = load_neighbors(options.file, n_items=dataset.n_items, data_hash=data_hash)
        if stored.ids.shape[1] < options.k:
            raise ConfigError(
                f"{options.file} has {stored.ids.shape[1]} neighbours per item, neighbors.k is "
                f"{options.k}: lower neighbors.k or make the file with -k {options.k}"
            )
        return Neighbors(stored.ids[:, : options.k], stored.counts[:, : options.k])
    return cooccurrence_neighbors(
        dataset.train,
        dataset.n_users,
        dataset.n_items,
        options.k,
        score=options.score,
        min_count=options.min_count,
        progress=progress,
    )


def write_neighbors(
    file: str | Path, config: RunConfig, dataset: Dataset, *, progress: bool = False
) -> Neighbors:
    """Compute co-occurrence neighbours and write them to `file`, with where they come from."""
    neighbors = make_neighbors(config, dataset, progress=progress)
    about = {**to_plain(config)["neighbors"], "dataset": dataset.name}
    save_neighbors(file, neighbors, {**about, "data_hash": dataset_hash(dataset)})
    return neighbors


def evaluate_split(backbone: Backbone, dataset: Dataset, split: str, config: RunConfig) -> Metrics:
    """Full-ranking metrics of a trained backbone on one split."""
    backbone.eval()
    with torch.inference_mode():
        representations: Representations = backbone()
        return Evaluator(dataset, split, ks=config.evaluation.ks)(representations)


def judge_directions(
    config: RunConfig, dataset: Dataset, backbone: Backbone, alignment: Alignment
) -> DirectionAgreement:
    """Agreement of the learnt directions with the truth of a planted data set.

    Scores are taken over the whole training split with the rule the alignment was trained with.
    """
    assert dataset.truth is not None
    assert config.alignment is not None
    device = next(alignment.parameters()).device
    raw = {name: table.to(device) for name, table in dataset.features.items()}
    with torch.no_grad():
        user, item = backbone()
    content = alignment.content({**raw, **backbone.modalities()})
    directions = alignment_directions(
        user,
        item,
        dict(zip(alignment.modalities, content, strict=True)),
        *dataset.train.to(device),
        leaky_bi=bool(config.alignment.options.get("leaky_bi", False)),
        missing={name: mask.to(device) for name, mask in dataset.missing.items()},
    )
    on_cpu = {name: active.cpu() for name, active in directions.items()}
    return direction_agreement(on_cpu, dataset.modalities, dataset.truth)


def run_fingerprint(config: RunConfig, dataset: Dataset) -> str:
    """Hash of data and configuration: a checkpoint is only continued under an equal one.

    The budget (number of epochs, patience) is left out, so that a run can be lengthened.
    """
    text = json.dumps([sorted(_settings(config)), dataset_hash(dataset)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _settings(config: RunConfig) -> set[tuple[str, str]]:
    """Dotted keys and values of what determines the numbers of a run."""
    budget = {f"training.{key}" for key in ("epochs", "patience", "checkpoint_every", "device")}
    settings = set()
    for key, value in to_plain(config).items():
        inner = value if isinstance(value, dict) else {"": value}
        settings |= {(f"{key}.{name}".strip("."), repr(v)) for name, v in inner.items()}
    return {(key, value) for key, value in settings if key not in budget}


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = ("torch", "dgl", "numpy", "scipy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _prepare_folder(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Refuse to overwrite a run, or to continue one of other settings; write `config.yaml`."""
    file = folder / "config.yaml"
    if file.exists() and not resume:
        raise RunError(
            f"{folder} already holds a run: continue it with --resume, or choose another --out"
        )
    refuse_other_settings(folder, config)
    write_text(file, to_yaml(config))


def refuse_other_settings(folder: Path, config: RunConfig) -> None:
    """Raise `RunError` naming the options in which the run in `folder` differs from `config`."""
    file = folder / "config.yaml"
    differing = _settings(load_config(file)) ^ _settings(config) if file.exists() else set()
    if differing:
        keys = ", ".join(sorted({key for key, _ in differing}))
        raise RunError(
            f"{folder} was trained with another {keys}: use the same settings or another --out"
        )


def _summary(
    config: RunConfig, dataset: Dataset, result: FitResult, valid: Metrics, test: Metrics
) -> dict[str, Any]:
    return {
        "backbone": config.backbone.name,
        "alignment": config.alignment.name if config.alignment else "none",
        "dataset": dataset.name,
        "seed": config.seed,
        "monitor": config.training.monitor,
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "valid": valid.to_dict(),
        "test": test.to_dict(),
        "dataset_facts": {
            "users": dataset.n_users,
            "items": dataset.n_items,
            "modalities": list(dataset.modalities),
            **{split: dataset.split(split).shape[1] for split in ("train", "valid", "test")},
        },
    }
