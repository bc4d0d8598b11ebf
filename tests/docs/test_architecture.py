"""ARCHITECTURE.md is a map of what is there: every name on it exists, and no package is missing."""

import re
import tomllib

import pytest
from tests.docs.pages import ROOT, SOURCE, page

TEXT = page("ARCHITECTURE.md")
FILES = sorted(set(re.findall(r"(?<![\w/.])((?:[a-z_]+/)+[a-z_]+\.(?:py|toml|md))\b", TEXT)))


@pytest.mark.parametrize("name", FILES)
def test_every_file_named_exists(name):
    assert (SOURCE / name).is_file() or (ROOT / name).is_file() or (SOURCE.parent / name).is_file()


def test_files_were_found():
    assert len(FILES) > 60


def test_every_package_is_named():
    packages = {path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("__init__.py")} - {"."}
    packages |= {"registry/migrations/versions"}
    assert not {name for name in packages if f"`{name}`" not in TEXT}


def test_every_row_of_the_ladder_is_the_linter_s():
    rows = re.findall(r"^\| (\d) \| `(\w+)` \|", TEXT, re.MULTILINE)
    layers = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]["layers"]
    expected = [set(re.findall(r"penstock\.(\w+)", layer)) for layer in reversed(layers)]
    found = [{name for number, name in rows if int(number) == row} for row in range(len(expected))]
    assert found == expected


def test_every_function_named_in_the_table_is_in_its_file():
    for file, function in re.findall(r"`([a-z_/]+\.py)`, `(\w+)`", TEXT):
        assert f"def {function}(" in (SOURCE / file).read_text(), f"{file} has no {function}"
