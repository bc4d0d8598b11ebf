"""The life of versions and aliases, on both databases."""

import shutil

import msgspec
import pytest

from penstock.bundle.bundle import save_bundle
from penstock.bundle.manifest import MEASUREMENTS, Waiver
from penstock.core.errors import Conflict, InvalidInput, NotFound, Refused
from penstock.core.names import VersionRef, parse_version_ref
from penstock.registry.registry import Registry
from penstock.storage.folder import Folder
from penstock.storage.locate import open_blobs, open_uri

NAME = "A0._-z"


def raises(error, code):
    return pytest.raises(error, match=rf"\[{code}\]$")


def test_a_registered_version_tells_all_its_bundle_says(registry, make_bundle):
    version = registry.register(make_bundle(licence="MIT"), tags={"Ursprung ✓": "é\u2028"}, metrics={"f1": 0.5})
    assert (version.ref, version.created_by, version.created_at) == (
        f"{NAME}/1",
        "ana@example",
        "2023-11-14T22:13:20.000Z",
    )
    assert (version.kind, version.runtime, version.licence, version.retired) == ("classifier", "onnx", "MIT", False)
    assert version.signature.inputs[0].name == "Größe ✓"
    assert version.lineage.parameters == {"depth": 3}
    assert version.tags == {"Ursprung ✓": "é\u2028"}
    assert version.metrics == {"auc": 0.91, "f1": 0.5}
    assert version.waiver is None
    assert version.measurements is None
    assert registry.get(VersionRef(NAME, 1)) == version


@pytest.mark.parametrize("form", ["folder", "archive", "opened"])
def test_a_bundle_comes_back_as_it_was_registered(registry, make_bundle, tmp_path, form):
    bundle = make_bundle(b"\0exact\xff")
    source = {
        "folder": bundle.directory,
        "archive": tmp_path / "x.penstock",
        "opened": bundle,
    }[form]
    if form == "archive":
        save_bundle(bundle, source)
    version = registry.register(source)
    shutil.rmtree(bundle.directory)
    for _ in range(2):
        fetched = registry.fetch(version, tmp_path / "cache")
        assert fetched.digest == bundle.digest == version.digest
        assert fetched.path("model.onnx").read_bytes() == b"\0exact\xff"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [bundle.digest.removeprefix("sha256:")]
    blobs, blob = open_uri(version.uri)
    assert blob == version.blob
    assert blobs.exists(blob)


def test_the_same_bundle_keeps_its_number_and_takes_new_tags(registry, make_bundle):
    bundle = make_bundle()
    first = registry.register(bundle, tags={"a": "1"})
    events = len(registry.events())
    assert registry.register(bundle, tags={"a": "1"}) == first
    assert len(registry.events()) == events, "nothing changed, so nothing is recorded"
    assert registry.register(bundle, tags={"b": "2"}).tags == {"a": "1", "b": "2"}
    registry.set_entries(VersionRef(NAME, 1), metrics={"auc": 0.5})
    assert registry.register(bundle).metrics == {"auc": 0.5}, "the packed metric is not put back over a later one"
    assert registry.register(bundle, name="other").ref == "other/1"
    assert [version.number for version in registry.versions(NAME)] == [1]


def test_numbers_have_no_gaps_even_after_a_registration_that_failed(registry, make_bundle):
    registry.register(make_bundle(b"1"))
    with raises(Conflict, "alias-moved"):
        registry.register(make_bundle(b"2"), alias="champion", expected=9)
    assert registry.register(make_bundle(b"3")).number == 2
    assert len(registry.events()) == 4, "two versions, each with the metric it was packed with"


def test_registering_moves_an_alias_in_the_same_step(registry, make_bundle):
    registry.register(make_bundle(b"1"), alias="champion", expected="absent")
    version = registry.register(make_bundle(b"2"), alias="champion", expected=1, reason="better")
    assert version.aliases == ("champion",)
    assert registry.resolve(f"{NAME}@champion") == version


def test_an_alias_moves_only_from_where_the_caller_believes_it_is(registry, make_bundle):
    for content in (b"1", b"2"):
        registry.register(make_bundle(content))
    registry.set_alias(NAME, "champion", 1, expected="absent")
    for wrong in ("absent", 2):
        with raises(Conflict, "alias-moved"):
            registry.set_alias(NAME, "champion", 2, expected=wrong)
        with raises(Conflict, "alias-moved"):
            registry.delete_alias(NAME, "champion", expected=wrong)
    registry.set_alias(NAME, "champion", 2, expected=1, reason="beat it by 0.02")
    registry.set_alias(NAME, "champion", 2)
    assert registry.aliases(NAME) == {"champion": 2}
    registry.delete_alias(NAME, "champion", expected=2)
    assert registry.aliases(NAME) == {}
    moves = [event for event in registry.history(NAME) if event.subject == f"{NAME}@champion"]
    assert [(event.action, event.before, event.after, event.reason) for event in moves] == [
        ("alias.set", None, {"version": 1}, ""),
        ("alias.set", {"version": 1}, {"version": 2}, "beat it by 0.02"),
        ("alias.deleted", {"version": 2}, None, ""),
    ]


def test_a_reference_without_number_means_the_newest_that_is_not_retired(registry, make_bundle):
    for content in (b"1", b"2"):
        registry.register(make_bundle(content))
    assert registry.resolve(NAME).number == 2
    registry.retire(parse_version_ref(f"{NAME}/2"))
    assert registry.resolve(NAME).number == 1
    registry.retire(parse_version_ref(NAME))
    with raises(NotFound, "unknown-version"):
        registry.resolve(NAME)


def test_a_version_under_an_alias_cannot_retire_and_a_retired_one_gets_no_alias(registry, make_bundle):
    version = registry.register(make_bundle(), alias="champion")
    ref = VersionRef(NAME, version.number)
    with raises(Refused, "version-aliased"):
        registry.retire(ref)
    registry.delete_alias(NAME, "champion")
    assert registry.retire(ref, reason="biased").retired
    with raises(Refused, "version-retired"):
        registry.set_alias(NAME, "champion", 1)
    assert not registry.retire(ref, retired=False).retired
    registry.set_alias(NAME, "champion", 1)


def test_tags_and_metrics_are_added_replaced_and_taken_away(registry, make_bundle):
    registry.register(make_bundle(), tags={"a": "1", "b": "2"})
    ref = VersionRef(NAME, 1)
    assert registry.set_entries(ref, tags={"a": None, "b": "3"}).tags == {"b": "3"}
    assert registry.set_entries(ref, metrics={"auc": 1, "loss": -1e300}).metrics == {"auc": 1.0, "loss": -1e300}
    last = registry.history(NAME)[-1]
    assert (last.action, last.before, last.after) == (
        "metrics.set",
        {"auc": 0.91, "loss": None},
        {"auc": 1.0, "loss": -1e300},
    )


def test_models_are_listed_by_name_whatever_the_database_sorts_by(registry, make_bundle):
    for name in ("b", "B", "a", "A_1", "A-1", "a1"):
        registry.register(make_bundle(), name=name, alias="live")
    assert [model.name for model in registry.models()] == ["A-1", "A_1", "B", "a", "a1", "b"]
    assert registry.models()[0].aliases == {"live": 1}


def test_histories_of_names_that_look_alike_are_kept_apart(registry, make_bundle):
    for name in ("ab", "AB", "a_b", "ab.c", "a"):
        registry.register(make_bundle(), name=name, alias="x")
        assert {event.subject for event in registry.history(name)} == {f"{name}/1", f"{name}@x"}


def test_measurements_however_large_are_kept_and_are_outside_the_digest(registry, make_bundle, tmp_path):
    bundle = make_bundle()
    huge = {"µs": [{"x" * 1000: i, "nested": {"deep": [None, 1.5, "é\0"]}} for i in range(1000)]}
    (bundle.directory / MEASUREMENTS).write_bytes(msgspec.json.encode(huge))
    version = registry.register(bundle.directory)
    assert version.measurements == huge
    assert version.digest == bundle.digest
    assert registry.fetch(version, tmp_path / "cache").digest == bundle.digest
    (bundle.directory / MEASUREMENTS).write_bytes(b"{")
    with raises(InvalidInput, "damaged-bundle"):
        registry.register(bundle.directory)


def test_a_pickle_waiver_is_in_the_record_and_in_the_audit_log(registry, make_bundle):
    waiver = Waiver(reason="trained by us ✓", file_sha256="sha256:" + "1" * 64)
    assert registry.register(make_bundle(waiver=waiver)).waiver == waiver
    waived = [event for event in registry.events() if event.action == "waiver.given"]
    assert [(event.subject, event.after) for event in waived] == [(f"{NAME}/1", msgspec.to_builtins(waiver))]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nobody", "unknown-model"),
        ("nobody/1", "unknown-model"),
        ("nobody@x", "unknown-model"),
        (f"{NAME}/2", "unknown-version"),
        (f"{NAME}@x", "unknown-alias"),
        (NAME.lower(), "unknown-model"),
    ],
)
def test_what_is_not_there_is_named(registry, make_bundle, text, code):
    registry.register(make_bundle())
    with raises(NotFound, code):
        registry.resolve(text)


def test_every_other_question_about_an_unknown_model(registry):
    calls = (
        lambda: registry.versions("nobody"),
        lambda: registry.aliases("nobody"),
        lambda: registry.history("nobody"),
        lambda: registry.set_alias("nobody", "x", 1),
        lambda: registry.retire(VersionRef("nobody", 1)),
        lambda: registry.set_entries(VersionRef("nobody", 1), tags={"a": "b"}),
    )
    for call in calls:
        with raises(NotFound, "unknown-model"):
            call()
    with raises(NotFound, "unknown-alias"):
        registry.delete_alias("nobody", "x")


@pytest.mark.parametrize("name", ["", "a/b", "a@b", "-a", "a ", "a\n", "é", "x" * 129])
def test_names_that_are_none_register_nothing(registry, make_bundle, artifacts, name):
    bundle = make_bundle(name="fine") if name else make_bundle(name="")
    with raises(InvalidInput, "invalid-name"):
        registry.register(bundle, name=name)
    with raises(InvalidInput, "invalid-name"):
        registry.register(bundle, name="fine", alias=name or "a b")
    assert registry.models() == []
    assert not artifacts.exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"tags": {"": "x"}}, "invalid-text"),
        ({"tags": {"k" * 129: "x"}}, "invalid-text"),
        ({"tags": {"k": "nul\0"}}, "invalid-text"),
        ({"tags": {"k": "\ud800"}}, "invalid-text"),
        ({"tags": {"k": "x" * 4097}}, "invalid-text"),
        ({"tags": {str(i): "x" for i in range(201)}}, "invalid-text"),
        ({"metrics": {"m": float("nan")}}, "invalid-metric"),
        ({"metrics": {"m": float("inf")}}, "invalid-metric"),
        ({"metrics": {"m": 10**400}}, "invalid-metric"),
        ({"reason": "two\nlines"}, "invalid-text"),
    ],
)
def test_texts_that_cannot_be_stored_register_nothing(registry, make_bundle, arguments, code):
    with raises(InvalidInput, code):
        registry.register(make_bundle(), **arguments)
    assert registry.models() == []


def test_an_actor_that_cannot_be_stored(database_url, artifacts):
    with raises(InvalidInput, "invalid-text"):
        Registry.open(database_url, Folder(artifacts), actor="a\0b")


@pytest.mark.parametrize("damage", ["file changed", "file missing", "file added", "truncated archive", "not there"])
def test_a_damaged_bundle_registers_nothing(registry, make_bundle, tmp_path, artifacts, damage):
    bundle = make_bundle()
    source = bundle.directory
    if damage == "file changed":
        (source / "model.onnx").write_bytes(b"MODEL")
    elif damage == "file missing":
        (source / "model.onnx").unlink()
    elif damage == "file added":
        (source / "extra.py").write_bytes(b"")
    else:
        source = tmp_path / "x.penstock"
        if damage == "truncated archive":
            save_bundle(bundle, source)
            source.write_bytes(source.read_bytes()[:-20])
    with pytest.raises((Refused, InvalidInput, NotFound)):
        registry.register(source)
    assert registry.models() == []
    assert not artifacts.exists()


def test_a_stored_archive_that_was_tampered_with_is_never_opened(registry, make_bundle, tmp_path, artifacts):
    version = registry.register(make_bundle())
    stored = artifacts / version.blob.removeprefix("sha256:")
    stored.write_bytes(stored.read_bytes().replace(b"model", b"MODEL"))
    with raises(Refused, "tampered-artifact"):
        registry.fetch(version, tmp_path / "cache")


def test_a_lost_archive_is_put_back_by_registering_again(registry, make_bundle, tmp_path, artifacts):
    bundle = make_bundle()
    version = registry.register(bundle)
    shutil.rmtree(artifacts)
    with raises(NotFound, "missing-artifact"):
        registry.fetch(version, tmp_path / "cache")
    (bundle.directory / MEASUREMENTS).write_bytes(b"[1]")
    again = registry.register(bundle)
    assert again.ref == version.ref
    assert again.blob != version.blob, "the measurements beside it changed"
    assert registry.fetch(again, tmp_path / "cache").digest == bundle.digest
    assert registry.events()[-1].action == "version.stored"


def test_garbage_is_what_no_version_names(registry, make_bundle, tmp_path, artifacts):
    version = registry.register(make_bundle())
    (artifacts / ("0" * 64)).write_bytes(b"left by a killed process")
    (artifacts / ".partial-x").write_bytes(b"left by a killed process")
    assert registry.collect_garbage(delete=False) == 1
    assert len(list(artifacts.iterdir())) == 3
    assert registry.collect_garbage(delete=True) == 1
    assert [path.name for path in artifacts.iterdir()] == [version.blob.removeprefix("sha256:")]
    assert registry.fetch(version, tmp_path / "cache").digest == version.digest


def test_a_registry_on_s3_is_the_same(database_url, make_bundle, tmp_path, s3_bucket, clock):
    blobs = open_blobs(s3_bucket)
    with Registry.open(database_url, blobs, actor="ana", clock=clock) as registry:
        version = registry.register(make_bundle(b"in a bucket"), alias="champion")
        fetched = registry.fetch(registry.resolve(f"{NAME}@champion"), tmp_path / "cache")
        assert fetched.path("model.onnx").read_bytes() == b"in a bucket"
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [version.digest.removeprefix("sha256:")]
        store, blob = open_uri(version.uri)
        assert store.exists(blob)
        blobs.put(fetched.path("golden.bin"))
        assert registry.collect_garbage(delete=True) == 1
        assert store.exists(blob)
