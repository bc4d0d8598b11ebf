"""The program as it is run, in a home of its own where nothing is yet."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import penstock


@pytest.fixture
def home(tmp_path):
    """A folder for HOME that holds nothing."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def environ(home):
    """Nothing of this machine's: only a home, and where programs are."""
    programs = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {"HOME": str(home), "PENSTOCK_HOME": str(home / "state"), "PATH": programs, "COLUMNS": "200"}


@pytest.fixture
def run(environ, tmp_path):
    """Runs `penstock`; the exit status must be `code`, and nobody may ever see a traceback."""

    def run_once(*arguments, code=0):
        done = subprocess.run(
            ["penstock", *map(str, arguments)], cwd=tmp_path, env=environ, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done.stderr
        return done

    return run_once


@pytest.fixture
def serve(environ, tmp_path):
    """`serve(*arguments)`: a context in which a node of folders with them is ready; see `folder_nodes.serving`."""

    def start(*arguments, **options):
        from tests.cli.folder_nodes import serving

        return serving(environ, tmp_path, arguments, **options)

    return start


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Two bundles, `sum.penstock` and `half.penstock`."""
    folder = tmp_path_factory.mktemp("bundles")
    rows = np.random.default_rng(0).random((40, 2))
    total = rows.sum(axis=1)
    for name, answers in (("sum", total), ("half", total / 2)):
        penstock.pack(LinearRegression().fit(rows, answers), rows, name=name, out=folder / f"{name}.penstock")
    return folder
