"""Route documents: what is accepted, what is refused and why."""

import json

import msgspec
import pytest

from penstock.core.choice import Chooser
from penstock.core.digest import canonical_json
from penstock.core.errors import InvalidInput, NotFound
from penstock.core.routes import Endpoint, arm_of_version, read_routes, version_of_label

DIGEST = "sha256:" + "0" * 64


def arm(**changes):
    return {"name": "main", "version": "churn/7", "bundle": DIGEST, "uri": "/b", "weight": 10_000, **changes}


def shadow(**changes):
    return {"name": "next", "version": "churn/8", "bundle": DIGEST, "uri": "/c", **changes}


def rule(**changes):
    return {"name": "inside", "arm": "main", "header": "x-region", "values": ["eu"], **changes}


def routes(arms=None, **changes):
    return {"format": 1, "generation": 3, "endpoints": {"churn": {"arms": arms or [arm()], **changes}}}


def refusal(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidInput) as error:
        read_routes(data)
    return error.value


def test_a_good_document_reads_and_writes_the_same():
    document = read_routes(
        json.dumps(routes(limits={"deadline_ms": 50}, isolation="inline", cache={"ttl_s": 5})).encode()
    )
    assert document.endpoints["churn"].limits.deadline_ms == 50
    assert read_routes(canonical_json(document)) == document
    assert document.digest() == read_routes(canonical_json(document)).digest()


def test_sticky_arms_rules_and_shadows_read_and_write_the_same():
    arms = [arm(weight=9_000, buckets=[[0, 500], [1_500, 10_000]]), arm(name="b", weight=1_000, buckets=[[500, 1_500]])]
    given = routes(arms, unit={"header": "x-user"}, seed="spring", rules=[rule(units=["u1"])], shadows=[shadow()])
    document = read_routes(json.dumps(given).encode())
    assert read_routes(canonical_json(document)) == document
    chooser = Chooser("churn", document.endpoints["churn"])
    assert [chooser.owner(bucket) for bucket in (0, 499, 500, 1_499, 1_500, 9_999)] == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (routes(limits={"deadline_s": 5}), "deadline_s"),
        (routes(shadow=[]), "shadow"),
        (routes([arm(wait=1)]), "wait"),
        ({**routes(), "extra": 1}, "extra"),
        (routes(isolation="thread"), "thread"),
        (routes([arm(weight="10000")]), "int"),
        (routes([arm(weight=9_999)]), "9999"),
        (routes([arm(weight=-1), arm(name="b", weight=10_001)]), "-1"),
        (routes([arm(weight=5_000), arm(weight=5_000)]), "name of their own"),
        (routes(shadows=[shadow(name="main")]), "name of their own"),
        (routes(shadows=[shadow(sample=0)]), "sample"),
        (routes(shadows=[shadow(budget=1.5)]), "budget"),
        (routes(shadows=[shadow(bundle="latest")]), "bundle"),
        (routes([arm(buckets=[[0, 9_999]])]), "as many as its weight"),
        (routes([arm(buckets=[[1, 10_001]])]), "between 0 and 10000"),
        (routes([arm(weight=5_000, buckets=[[0, 5_000]]), arm(name="b", weight=5_000)]), "as many as its weight"),
        (
            routes([arm(weight=5_000, buckets=[[0, 5_000]]), arm(name="b", weight=5_000, buckets=[[4_000, 9_000]])]),
            "once",
        ),
        (routes(unit={}), "one of header"),
        (routes(unit={"header": "x-user", "cookie": "user"}), "one of header"),
        (routes(seed="s" * 65), "64 bytes"),
        (routes(rules=[rule(arm="nobody")]), "no arm"),
        (routes(rules=[rule(header="x-region", values=[])]), "needs a header"),
        (routes(rules=[rule(header="", values=[])]), "needs a header"),
        (routes(rules=[rule(units=["u1"])]), "has none"),
        (routes(rules=[rule(name="a\r\nb")]), "rule"),
        (routes(rules=[rule(), rule()]), "one name"),
        (routes(unit={"header": "x-user"}, rules=[rule(units=[""])]), "empty unit"),
        (routes(rules=[rule(subjects=[""])]), "empty unit"),
        (routes(rules=[rule(name=f"r{number}") for number in range(101)]), "more than 100 rules"),
        (routes(rules=[rule(header="x region")]), "characters"),
        (routes(unit={"header": "x-user\r\nx"}), "characters"),
        (routes(unit={"cookie": "us=er"}), "characters"),
        (routes(shadows=[shadow(name=f"s{number}") for number in range(9)]), "8 shadows"),
        (routes([]) | {"endpoints": {"churn": {"arms": []}}}, "at least one arm"),
        (routes(limits={"max_batch_rows": 0}), "greater than 0"),
        (routes(limits={"deadline_ms": -1}), "greater than 0"),
        (routes(limits={"max_batch_rows": 10**9}), "max_batch_rows"),
        (routes([arm(bundle="")]), "bundle"),
        (routes([arm(bundle="sha256:12")]), "bundle"),
        (routes([arm(version='7"\r\nx: y')]), "version"),
        (routes([arm(version="")]), "version"),
        ({**routes(), "generation": -1}, "generation"),
        ({**routes(), "format": 0}, "format"),
        (b"", "truncated"),
        (b"[1]", "array"),
        (b'{"format": 1', "truncated"),
        (b"\xff", "route document"),
        (json.dumps(routes()).replace('"weight": 10000', '"weight": 1, "weight": 10000').encode(), "twice"),
        (json.dumps(routes()).replace("churn", "ch urn", 1).encode(), "valid name"),
        (b"[" * 500_000, "route document"),
    ],
)  # fmt: skip
def test_a_bad_document_is_refused_and_says_why(document, says):
    error = refusal(document)
    assert error.code in ("invalid-routes", "invalid-name")
    assert says in str(error)


def test_a_newer_document_is_called_newer_also_when_its_fields_are_unknown():
    assert refusal({**routes(), "format": 2, "new": True}).code == "newer-format"


def test_a_version_is_found_by_number_or_whole():
    endpoint = msgspec.convert({"arms": [arm(), arm(name="b", version="churn/8", weight=0)]}, Endpoint)
    assert [arm_of_version(endpoint, text) for text in ("7", "8", "churn/8")] == [0, 1, 1]
    for unknown in ("9", "", "churn", "churn/", "07"):
        with pytest.raises(NotFound) as refused:
            arm_of_version(endpoint, unknown)
        assert refused.value.code == "unknown-version"


def test_a_label_names_a_version_and_so_does_an_arm():
    arms = [arm(weight=10_000), arm(name="next", version="churn/8", weight=0)]
    endpoint = read_routes(
        json.dumps(routes(arms, labels={"stable": "churn/7", "next": "churn/7"})).encode()
    ).endpoints["churn"]
    assert [version_of_label(endpoint, label) for label in ("stable", "main", "next")] == ["churn/7"] * 3
    with pytest.raises(NotFound, match="main, next, stable") as refusal_of_label:
        version_of_label(endpoint, "canary")
    assert refusal_of_label.value.code == "unknown-label"
    assert "no arm's" in str(refusal(routes(arms, labels={"stable": "churn/9"})))
    assert "label" in str(refusal(routes(arms, labels={"a b": "churn/7"})))


def test_one_endpoint_at_most_is_the_default():
    both = {name: {"arms": [arm()], "default": True} for name in ("a", "b")}
    assert "default" in str(refusal({"format": 1, "generation": 3, "endpoints": both}))
    assert read_routes(json.dumps(routes(default=True)).encode()).endpoints["churn"].default
