"""The published JSON Schema of route documents is the one of the types that read them.

Write it anew: `python -c "from tests.core.test_routes_schema import schema; print(schema(), end='')" > FILE`.
"""

import json
import re
from pathlib import Path

import msgspec

from penstock.core.routes import (
    Access,
    Arm,
    Cache,
    Endpoint,
    KeyEntry,
    Limits,
    Recording,
    RouteDocument,
    Rule,
    Shadow,
    Unit,
    read_routes,
)

FORMATS = Path(__file__).parents[2] / "docs" / "formats"


def schema():
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penstock route document, format 1",
        **msgspec.json.schema(RouteDocument),
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def test_the_published_schema_is_the_types():
    assert (FORMATS / "routes.schema.json").read_text() == schema()


def test_every_field_is_described():
    text = (FORMATS / "routes.md").read_text()
    for kind in (RouteDocument, Endpoint, Arm, Shadow, Unit, Rule, Limits, Cache, Recording, Access, KeyEntry):
        for name in kind.__struct_fields__:
            assert re.search(rf"[`\".]{name}[`\"]", text), name


def test_the_example_reads_but_for_its_shortened_digests():
    (example,) = re.findall(r"```json\n(.*?)```", (FORMATS / "routes.md").read_text(), re.DOTALL)
    document = read_routes(re.sub(r"sha256:\w+…", "sha256:" + "0" * 64, example).encode())
    assert [arm.weight for arm in document.endpoints["churn"].arms] == [9000, 1000]
