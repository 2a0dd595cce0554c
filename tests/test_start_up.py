"""Commands that only look around answer soon: what takes seconds to import stays out of them."""

import subprocess
import sys

import pytest

SHOW = """
import sys
from crossalign.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass  # how argparse ends --help
print(",".join(name for name in ("dgl", "sklearn", "matplotlib") if name in sys.modules))
"""


@pytest.mark.parametrize("command", ["list", "--help"])
def test_looking_around_imports_neither_dgl_nor_scikit_learn(command):
    try:
        run = subprocess.run(
            [sys.executable, "-c", SHOW, command], capture_output=True, text=True, check=True
        )
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr)
    assert run.stdout.splitlines()[-1] == ""
    assert len(run.stdout.splitlines()) > 10
