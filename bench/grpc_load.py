#!/usr/bin/env python3
"""Load on a gRPC port of the Open Inference Protocol: h2load, and messages written by hand, so that no library is needed.

    python3 grpc_load.py PORT --model m --input x --rows '[[1, 2]]'      one measurement by hand

`run.py` calls `load`, and has the answers of a server checked by `ask`, in a Python that has grpcio.
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
from pathlib import Path

METHOD = "/inference.GRPCInferenceService/ModelInfer"
LETTERS = {"FP32": "f", "FP64": "d"}
# Calls under way: connections, streams on each.
CONNECTIONS = {1: (1, 1), 16: (1, 16), 64: (4, 16)}


# ---------------------------------------------------------------- messages
def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def request(fmt: dict, rows: list, kind: str, model: str = "m") -> bytes:
    """A ModelInferRequest with raw contents."""
    datatype = fmt.get("datatype", "FP32")
    tensor = field(1, fmt.get("input", "x")) + field(2, datatype) + field(3, varint(len(rows)) + varint(len(rows[0])))
    wanted = fmt.get("outputs")
    wanted = wanted.get(kind) if isinstance(wanted, dict) else wanted
    flat = [x for row in rows for x in row]
    raw = struct.pack(f"<{len(flat)}{LETTERS[datatype]}", *flat)
    asked = b"".join(field(6, field(1, name)) for name in wanted or ())
    return field(1, model) + field(5, tensor) + asked + field(7, raw)


def fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """The fields of a message, as far as answers have them: numbers and what has a length."""
    def number(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value, at

    out, at = [], 0
    while at < len(data):
        tag, at = number(at)
        value, at = number(at)
        if tag & 7 == 2:
            out.append((tag >> 3, data[at:at + value]))
            at += value
        else:
            out.append((tag >> 3, value))
    return out


def answer(fmt: dict, data: bytes) -> list[float]:
    """The numbers of the output that is compared; the answer has raw contents."""
    found = fields(data)
    outputs = [dict(fields(value)) for number, value in found if number == 5]
    raw = [value for number, value in found if number == 6]
    names = [output[1].decode() for output in outputs]
    at = names.index(fmt["output"]) if fmt.get("output") in names else -1
    letter = LETTERS[outputs[at][2].decode()]
    return list(struct.unpack(f"<{len(raw[at]) // struct.calcsize(letter)}{letter}", raw[at]))


# ---------------------------------------------------------------- load and answers
def load(port: int, body: bytes, calls: int, seconds: float, core: int, workdir: Path) -> dict:
    """h2load for some seconds with so many calls under way; a failed call would be a short answer, so sizes are told."""
    file, log = workdir / "body.bin", workdir / "h2load.log"
    # The prefix of a gRPC message: not compressed, and its length.
    file.write_bytes(b"\0" + struct.pack(">I", len(body)) + body)
    log.unlink(missing_ok=True)
    connections, streams = CONNECTIONS[calls]
    cmd = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{max(1, round(seconds))}", "-d", str(file),
           "--log-file", str(log), "-H", "content-type: application/grpc", "-H", "te: trailers",
           f"http://127.0.0.1:{port}{METHOD}"]
    proc = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    out = proc.stdout.read()
    _, status, usage = os.wait4(proc.pid, 0)
    proc.returncode = os.waitstatus_to_exitcode(status)
    if proc.returncode or not log.exists():
        raise RuntimeError(f"h2load: {out[-300:]}")
    # Start, HTTP status and duration of each call, in microseconds.
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    took = sorted(int(line[2]) for line in lines if line[1] == "200")
    seconds = max(1, round(seconds))
    wrong = len(lines) - len(took)
    at = lambda share: round(took[min(len(took) - 1, int(len(took) * share))] / 1e3, 3)
    return {
        "rps": round(len(took) / seconds, 1), "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1),
        "mean_ms": round(statistics.fmean(took) / 1e3, 3), "requests": len(lines), "errors": 0, "status_errors": wrong,
        "seconds": seconds, "load_cpu": round((usage.ru_utime + usage.ru_stime) / seconds, 3),
    }


def ask(port: int, bodies: list[bytes], python: str) -> list[bytes]:
    """The answers to these messages, 16 at a time, by the grpcio of another Python; raises where one failed."""
    given = json.dumps([body.hex() for body in bodies])
    done = subprocess.run([python, __file__, "--ask", str(port)], input=given, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError("gRPC: " + done.stderr.strip()[-300:])
    return [bytes.fromhex(text) for text in json.loads(done.stdout)]


def _ask(port: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    bodies = [bytes.fromhex(text) for text in json.load(sys.stdin)]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, ThreadPoolExecutor(16) as pool:
        stub = channel.unary_unary(METHOD)
        json.dump([found.hex() for found in pool.map(lambda body: stub(body, timeout=20), bodies)], sys.stdout)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("port", type=int)
    options.add_argument("--ask", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--model", default="m")
    options.add_argument("--input", default="x")
    options.add_argument("--datatype", default="FP64", choices=LETTERS)
    options.add_argument("--rows", default="[[1, 2, 3, 4]]", help="JSON")
    options.add_argument("--calls", type=int, default=64, choices=CONNECTIONS)
    options.add_argument("--seconds", type=int, default=3)
    options.add_argument("--core", type=int, default=1)
    given = options.parse_args()
    if given.ask:
        return _ask(given.port)
    fmt = {"input": given.input, "datatype": given.datatype}
    body = request(fmt, json.loads(given.rows), "", given.model)
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(load(given.port, body, given.calls, given.seconds, given.core, Path(folder)), indent=1))


if __name__ == "__main__":
    main()
