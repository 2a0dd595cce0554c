"""The Parquet files of an export are read by programs that know nothing of this library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from crossalign.config import load_config
from crossalign.pipeline import train
from crossalign.serving import export_run
from crossalign.serving.beside import write_parquet

READER = """
import json, sys
import pyarrow.parquet as parquet
found = {}
for name in ("user", "item"):
    table = parquet.read_table(f"{sys.argv[1]}/{name}_vectors.parquet")
    found[name] = [str(table.schema.field("id").type), str(table.schema.field("vector").type),
                   table.column("id").to_pylist(), table.column("vector").to_pylist()]
assert not {"torch", "crossalign", "safetensors"} & sys.modules.keys()
json.dump(found, sys.stdout)
"""


def test_pyarrow_alone_reads_ids_and_vectors(tmp_path: Path) -> None:
    small = ["data.planted_users=60", "data.planted_items=40", "training.epochs=1"]
    config = load_config(None, small, path="planted", backbone="bpr")
    train(config, tmp_path / "run", progress=False)
    export_run(tmp_path / "run", tmp_path / "shop")
    command = [sys.executable, "-c", READER, str(tmp_path / "shop")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    vectors = load_file(tmp_path / "shop" / "vectors.safetensors")
    for name, (id_type, vector_type, ids, rows) in json.loads(done.stdout).items():
        assert (id_type, vector_type) == ("string", "list<element: float>")
        listed = (tmp_path / "shop" / f"{name}s.csv").read_text().splitlines()[1:]
        assert ids == [line.partition(",")[0] for line in listed]
        np.testing.assert_array_equal(np.float32(rows), vectors[name])


def test_tables_of_many_groups_of_rows_are_whole(tmp_path: Path, monkeypatch) -> None:
    from pyarrow import parquet

    monkeypatch.setattr("crossalign.serving.beside.ROWS_AT_ONCE", 4)
    vectors = torch.arange(22.0).reshape(11, 2)
    write_parquet(tmp_path / "table.parquet", np.array([f"ü{i}" for i in range(11)]), vectors)
    table = parquet.ParquetFile(tmp_path / "table.parquet")
    assert table.num_row_groups == 3
    assert table.read()["id"].to_pylist()[10] == "ü10"
    assert table.read()["vector"].to_pylist() == vectors.tolist()
