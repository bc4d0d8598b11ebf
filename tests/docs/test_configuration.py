"""docs/reference/configuration.md names every variable that is read, and every limit with its value."""

import ast
import re

import pytest
from tests.docs.pages import SOURCE, page

from penstock.cli.settings import read_settings
from penstock.core.routes import MOST_BATCH_ROWS, Cache, Limits
from penstock.runtime.worker.policy import WorkerPolicy
from penstock.serving.http.door import HttpLimits
from penstock.serving.settings import NodeSettings

PAGE = "docs/reference/configuration.md"
# These set what a library reads when it is imported.
SETTERS = {
    f"runtime/{name}.py"
    for name in ("ort", "frameworks/torch", "frameworks/huggingface", "frameworks/tensorflow", "frameworks/mlflow")
}
VARIABLE = re.compile(
    r"(?:AIP|AZUREML|SAGEMAKER|PENSTOCK|AWS|PG|ORT|UV|LOGNAME|USER|USERNAME|HOME|TMPDIR)(?:_?[A-Z0-9]+)*(?:_[A-Z0-9]+)*"
)


def chapter(title):
    return page(PAGE).split(f"## {title}\n")[1].split("\n## ")[0]


def rows(title):
    """{name: value} of a chapter's table; only what is written as a number counts."""
    return dict(re.findall(r"^\| `([a-z_]+)` \| ([\d.]+) \|", chapter(title), re.MULTILINE))


def names_read():
    """Upper-case literals of files that touch the environment, and what their messages name."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        source = path.read_text()
        if "environ" in source:
            literals = [n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)]
            found |= {text for text in literals if isinstance(text, str) and VARIABLE.fullmatch(text)}
    return found


def test_every_variable_that_is_read_is_named():
    read = names_read()
    assert {"PENSTOCK_HOME", "PENSTOCK_ACTOR", "AWS_ALLOW_HTTP"} <= read, "the search itself is broken"
    missing = {name for name in read if f"`{name}`" not in chapter("Environment variables")}
    assert not missing


def test_only_the_files_that_say_so_read_the_environment():
    readers = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"\bos\.(environ|getenv)|import environ", path.read_text())
    }
    # A command reads it and passes settings on.
    readers = {name for name in readers if not name.startswith("cli/")}
    assert readers <= {
        "sdk/security.py",
        "storage/bucket.py",
        "serving/grpc/library.py",
        "pack/remote.py",
        "mlflow_plugin.py",
        *SETTERS,
    }, "settings are read in one place, then passed on"


def test_the_defaults_of_the_settings_are_as_said():
    settings = read_settings({"HOME": "/h"})
    text = chapter("Environment variables")
    assert (
        settings.database_url == "sqlite:////h/.penstock/registry.db" and "sqlite:///$PENSTOCK_HOME/registry.db" in text
    )
    assert settings.artifacts_url == "/h/.penstock/artifacts" and "`$PENSTOCK_HOME/artifacts`" in text
    assert settings.actor == "unknown" and "else `unknown`" in text


def _plain(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(
    ("title", "values", "all_of_them"),
    [
        ("Limits of a connection", HttpLimits(), True),
        ("Limits of an endpoint", Limits(), True),
        ("Limits of an endpoint", Cache(), True),
        ("Limits of model processes", WorkerPolicy(), False),
        ("Options of a node", NodeSettings(routes="", home=""), False),
    ],
)
def test_every_limit_stands_there_with_its_value(title, values, all_of_them):
    text = chapter(title)
    if isinstance(values, Cache):
        text = text.split("`cache`")[1]
    elif isinstance(values, Limits):
        text = text.split("`cache`")[0]
    said = dict(re.findall(r"^\| `([a-z_]+)` \| ([\d.]+) \|", text, re.MULTILINE))
    real = {name: _plain(getattr(values, name)) for name in values.__struct_fields__}
    assert said and said == {name: real.get(name) for name in said}
    if all_of_them:
        assert set(said) == set(real)


def test_the_largest_batch_is_as_said():
    assert f"at most {MOST_BATCH_ROWS}" in chapter("Limits of an endpoint")
