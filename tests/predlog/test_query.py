"""Questions to the log: what they find, and everything that they may not do."""

import contextlib
import csv
import json
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import duckdb
import numpy as np
import pytest
from tests.predlog.logged import BEGIN_S, ask, block, ids, places_in, write_segment

from penstock.core.errors import DeadlineExceeded, InvalidInput, NotFound, PenstockError, Refused, Unavailable
from penstock.predlog.compact import compact_all
from penstock.predlog.outcomes import Outcome
from penstock.predlog.query import export, query
from penstock.predlog.record import encode_block
from penstock.predlog.segment import list_segments
from penstock.predlog.table_tail import Tail, last_rows
from penstock.predlog.table_views import EVERYTHING, Selection, open_places


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Ten records in the table, two not yet in it, one outcome; and a secret beside it."""
    root = tmp_path_factory.mktemp("log")
    places = places_in(root)
    write_segment(places.segments[0], [block(10)])
    compact_all(places)
    write_segment(places.segments[0], [block(2, start=10)], sequence=1)
    places.outcomes.append([Outcome(request_id="r1", value=1)])
    (root / "secret.csv").write_text("password\nhunter2\n")
    return places


def test_the_table_and_what_is_not_in_it_yet_are_one(log):
    assert ask(log, "SELECT count(*), count(DISTINCT request_id) FROM predictions") == [(12, 12)]
    assert ask(log, "SELECT count(*) FROM joined") == [(12,)]


def test_a_part_of_the_log(log):
    assert ids(log, Selection(since=BEGIN_S + 9, until=BEGIN_S + 11)) == ["r9", "r10"]
    assert ids(log, Selection(as_of=BEGIN_S + 1)) == ["r0", "r1"]
    assert ids(log, Selection(endpoint="spam")) == []
    assert ask(log, "SELECT count(*) FROM joined", Selection(since=BEGIN_S + 11)) == [(1,)]


def test_more_rows_than_asked_for_are_said_to_be_there(log):
    found = query(log, "SELECT request_id FROM predictions ORDER BY time DESC", limit=2)
    assert (found.columns, found.rows, found.truncated) == (("request_id",), [("r11",), ("r10",)], True)
    assert not query(log, "FROM predictions LIMIT 2", limit=2).truncated


def test_times_with_a_zone_come_in_utc(log):
    found = ask(log, "SELECT TIMESTAMPTZ '2030-01-01 00:00:00+02' AS t, 1 AS x")
    assert found == [(datetime(2029, 12, 31, 22), 1)]


def test_an_endless_query_is_ended(log):
    with pytest.raises(DeadlineExceeded) as caught:
        query(log, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b", timeout_s=0.2)
    assert caught.value.code == "query-timeout"


def test_a_greedy_query_ends_within_its_memory(log):
    with pytest.raises(PenstockError) as caught:
        query(log, "SELECT list(range) FROM range(3000000000)", timeout_s=20)
    assert caught.value.code in ("log-memory", "query-timeout")


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "SELECT",
        "SELECT nothing FROM predictions",
        "FROM nowhere",
        "SELECT 1; SELECT 2",
        "(" * 3000,
        "SELECT '\0",
    ],
)
def test_what_is_no_query_is_said(log, sql):
    with pytest.raises(InvalidInput) as caught:
        query(log, sql)
    assert caught.value.code == "invalid-query"


HOSTILE = [
    "FROM read_csv('{root}/secret.csv')",
    "FROM read_csv('{root}/table/../secret.csv')",
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('/proc/self/environ')",
    "FROM read_json('/etc/passwd')",
    "FROM read_parquet('{root}/**/*.parquet')",
    "FROM glob('/etc/*')",
    "FROM '/etc/passwd'",
    "FROM parquet_metadata('{root}/elsewhere.parquet')",
    "FROM sniff_csv('{root}/secret.csv')",
    "SELECT * FROM predictions, read_text('/etc/hostname')",
    "COPY (SELECT 1) TO '{root}/out.csv'",
    "COPY predictions TO '{root}/out.parquet' (FORMAT parquet)",
    "EXPORT DATABASE '{root}/out'",
    "ATTACH '{root}/out.db'",
    "ATTACH 'http://127.0.0.1:1/x.db'",
    "FROM read_csv('http://127.0.0.1:1/x.csv')",
    "FROM read_parquet('s3://bucket/x.parquet')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "PRAGMA enable_external_access=true",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "SET allowed_paths = ['/etc/passwd']",
    "CREATE SECRET s (TYPE s3)",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW predictions AS SELECT 1",
    "DROP VIEW predictions",
    "DELETE FROM predictions",
    "INSERT INTO predictions SELECT * FROM predictions",
    "CALL pragma_version()",
    "IMPORT DATABASE '{root}'",
    "PREPARE p AS SELECT 1",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/out.csv'",
    "SELECT 1; COPY (SELECT 1) TO '{root}/out.csv'",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{root}/out.csv''')",
    "SELECT getenv('HOME')",
    "FROM log_places",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_a_query_reads_nothing_beside_the_log_and_writes_nothing(log, sql):
    root = log.cache.parent
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises((Refused, InvalidInput)) as caught:
        query(log, sql.format(root=root))
    assert caught.value.code in ("query-refused", "invalid-query")
    assert "hunter2" not in str(caught.value)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_a_segment_that_cannot_be_read_is_a_warning(tmp_path):
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(1)])
    write_segment(places.segments[0], [], sequence=1).path.write_bytes(b"something else altogether")
    found = query(places, "SELECT request_id FROM predictions")
    assert found.rows == [("r0",)]
    assert len(found.warnings) == 1
    assert "not-a-segment" in found.warnings[0]


def test_units_keep_every_bit_and_nobody_is_null(tmp_path):
    places = places_in(tmp_path)
    units = np.array([0, 2**64 - 1, 7], np.uint64)
    write_segment(places.segments[0], [block(3, units=units), block(2, start=3)])
    asked = "SELECT unit, typeof(unit) FROM predictions ORDER BY time"
    for _ in range(2):
        assert ask(places, asked) == [(unit, "UBIGINT") for unit in (None, 2**64 - 1, 7, None, None)]
        compact_all(places)


@pytest.mark.parametrize("others", [0, 1])
def test_files_from_before_there_were_units_have_none(tmp_path, others):
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(2)])
    compact_all(places)
    (part,) = (tmp_path / "table").rglob("*.parquet")
    old = part.with_name(part.name.rpartition("-")[0] + "-00000000.parquet")
    with duckdb.connect() as engine:
        engine.execute(
            f"COPY (SELECT * EXCLUDE unit FROM read_parquet('{part}', hive_partitioning = false)) TO '{old}'"
        )
    part.unlink()
    write_segment(places.segments[0], [block(1, start=2, units=np.array([7], np.uint64))] * others, sequence=1)
    assert ask(places, "SELECT unit FROM predictions ORDER BY time") == [(None,), (None,)] + [(7,)] * others


def test_an_empty_log_has_its_columns(tmp_path):
    places = places_in(tmp_path)
    assert ask(places, "SELECT request_id, time, latency_us, endpoint FROM joined") == []
    assert ask(places, "SELECT request_id, text FROM outcomes") == []


def test_endpoints_that_look_like_numbers_stay_names(tmp_path):
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(1, endpoint="007")])
    compact_all(places)
    assert ask(places, "SELECT endpoint FROM predictions WHERE endpoint = '007'") == [("007",)]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_part_goes_into_one_file(log, tmp_path, kind):
    out = tmp_path / f"it's.{kind}"
    assert export(log, "joined", out, Selection(until=BEGIN_S + 3)) == 3
    if kind == "csv":
        rows = list(csv.DictReader(out.read_text().splitlines()))
    elif kind == "jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    else:
        engine = duckdb.connect()
        rows = engine.read_parquet(str(out))
        rows = [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]
    assert [row["request_id"] for row in rows] == ["r0", "r1", "r2"]
    assert [str(row["outcome.label"] or "") for row in rows] == ["", "1.0", ""]
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("view", "name", "code"),
    [
        ("joined", "a.xlsx", "invalid-choice"),
        ("secrets", "a.csv", "invalid-choice"),
        ("joined", "no/a.csv", "log-unavailable"),
    ],
)
def test_what_cannot_be_exported_is_said(log, tmp_path, view, name, code):
    with pytest.raises(PenstockError) as caught:
        export(log, view, tmp_path / name)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_the_log_and_what_follows(tmp_path):
    places = places_in(tmp_path)
    writer = write_segment(places.segments[0], [block(3)], close=False)
    assert [row["request_id"] for row in last_rows(places, EVERYTHING, 2)] == ["r1", "r2"]
    assert last_rows(places, EVERYTHING, 0) == []
    tail = Tail(places.segments, "churn")
    assert list(tail.new()) == []
    writer.append([encode_block(block(1, start=3)), encode_block(block(1, endpoint="spam"))])
    (row,) = tail.new()
    assert (row["request_id"], row["output.predictions"], row["time"]) == ("r3", 1, datetime(2030, 3, 17, 17, 46, 43))
    assert list(tail.new()) == []
    writer.close()
    write_segment(places.segments[0], [block(1, start=4)], sequence=1)
    assert [row["request_id"] for row in tail.new()] == ["r4"]
    compact_all(places)
    assert list(tail.new()) == []


def test_one_name_for_different_things_is_read_as_what_holds_them_all(tmp_path):
    """Whole numbers beyond 2^24 are not squeezed into the FP32 of another endpoint, nor a list refused for a number."""
    places = places_in(tmp_path)
    outputs = [np.array([2**40 + 1]), np.array([0.5], np.float32), np.array([[1, 2]]), np.array([True])]
    for number, output in enumerate(outputs):
        other = block(1, start=number, endpoint=f"e{number}", outputs={"y": output})
        write_segment(places.segments[0], [other], sequence=number)
    asked = 'SELECT "output.y" FROM predictions ORDER BY time'
    for _ in range(2):
        assert ask(places, asked, Selection(endpoint="e0")) == [(2**40 + 1,)]
        assert ask(places, asked) == [("1099511627777",), ("0.5",), ("[1, 2]",), ("true",)]
        compact_all(places)
    numbers = places_in(tmp_path / "numbers")
    write_segment(numbers.segments[0], [block(1, start=at, outputs={"y": outputs[at]}) for at in range(2)])
    assert ask(numbers, asked) == [(2.0**40 + 1,), (0.5,)]


class Unwilling(BaseHTTPRequestHandler):
    """An object store that answers every request with the server's `status`."""

    def answer(self):
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - names of the base class

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def unwilling(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Unwilling)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("status", [503, 403])
def test_while_the_store_is_away_or_refuses_everything_stays_here(tmp_path, unwilling, status):
    """503: it is down. 403: its credentials were lost."""
    unwilling.status = status
    address = f"s3://bucket/log?endpoint=http://127.0.0.1:{unwilling.server_port}&region=eu-west-1"
    places = places_in(tmp_path, address)
    write_segment(places.segments[0], [block(2)])
    places.outcomes.append([Outcome(request_id="r0", value=1)])
    done = compact_all(places)
    assert (done.segments, done.batches, done.waiting, len(done.problems)) == (0, 0, 2, 2)
    assert all("log-unavailable" in problem and "secret" not in problem for problem in done.problems)
    assert len(list_segments(places.segments[0])) == 1
    with pytest.raises(Unavailable) as caught:
        query(places, "FROM predictions")
    assert caught.value.code == "log-unavailable"
    later = places_in(tmp_path)
    assert compact_all(later).waiting == 0
    assert ask(later, 'SELECT request_id, "outcome.label" FROM joined ORDER BY time') == [("r0", 1.0), ("r1", None)]


@pytest.fixture(scope="module")
def bucket():
    """A bucket of a real S3 server."""
    import urllib.request

    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with contextlib.closing(
            urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/logs", method="PUT"))
        ) as answer:
            assert answer.status == 200
        yield f"s3://logs/deep/prefix?endpoint=http://{host}:{port}&region=eu-west-1"
    server.stop()


def test_the_table_in_s3_is_read_from_any_machine(tmp_path, bucket):
    here = places_in(tmp_path / "here", bucket)
    write_segment(here.segments[0], [block(3)])
    here.outcomes.append([Outcome(request_id="r1", value=1)])
    assert compact_all(here).waiting == 0
    elsewhere = places_in(tmp_path / "elsewhere", bucket)
    for _ in range(2):
        assert ask(elsewhere, 'SELECT request_id, "outcome.label" FROM joined ORDER BY time') == [
            ("r0", None), ("r1", 1.0), ("r2", None),
        ]  # fmt: skip
    keys = here.table.keys("predictions")
    assert [key.rpartition("/")[0] for key in keys] == ["predictions/endpoint=churn/date=2030-03-17"]
    here.table.delete(keys)
    assert ids(elsewhere) == []
    with pytest.raises(NotFound, match="missing-part"):
        here.table.local("predictions/none.parquet", tmp_path / "cache")


def test_a_home_s_log_is_where_its_nodes_write(tmp_path):
    write_segment(tmp_path / "predlog" / "local", [block(1)])
    places = open_places(tmp_path)
    compact_all(places)
    assert ids(open_places(tmp_path)) == ["r0"]
    assert ids(open_places(tmp_path / "other", f"file://{tmp_path}/log")) == ["r0"]
    with pytest.raises(PenstockError) as caught:
        open_places(tmp_path, "gs://bucket/log")
    assert caught.value.code == "unsupported-log"
