"""Runs the fenced blocks of a page from top to bottom, as a reader would: `python blocks.py PAGE PORT`.

`python` blocks share one interpreter; in `console` blocks each line that begins with `$ ` is a command, and one that
ends in ` &` is a node that goes on running until the page ends. What follows a command in its block, or stands in a
`text` block right after a `python` block, is the output that the page promises. 8080 stands for PORT.
"""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

START_S = 60
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(text):
    """(language, body, number of its first line) of every fenced block."""
    return [(found[1], found[2], text.count("\n", 0, found.start()) + 2) for found in _FENCE.finditer(text)]


def steps_of(text):
    """(kind, what to run, promised output or None, line) in the page's order; kind is `python`, `command` or `node`."""
    steps, blocks = [], blocks_of(text)
    for index, (language, body, line) in enumerate(blocks):
        if language == "python":
            following = blocks[index + 1] if index + 1 < len(blocks) else ("", "", 0)
            # Only a block that follows at once is this one's output.
            promised = following[1] if following[0] == "text" and following[2] - line - body.count("\n") <= 4 else None
            steps.append(("python", body, promised, line))
        elif language == "console":
            steps += _commands(body, line)
    return steps


def _commands(body, line):
    pieces = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not pieces[0].strip(), f"line {line}: a console block begins with `$ `"
    for piece in pieces[1:]:
        command, _, promised = piece.partition("\n")
        if command.endswith(" &"):
            yield "node", command.removesuffix(" &"), None, line
        else:
            yield "command", command, promised or None, line


def run_page(page, port):
    """[line, promised, printed] of every step that promises something; any failure ends the run."""
    text = page.read_text().replace("8080", str(port))
    results, names, nodes = [], {}, []
    try:
        for kind, body, promised, line in steps_of(text):
            printed = io.StringIO()
            if kind == "python":
                with contextlib.redirect_stdout(printed):
                    exec(compile("\n" * (line - 1) + body, str(page), "exec"), names)
            elif kind == "node":
                nodes.append(_start(body, port))
            else:
                done = subprocess.run(body, shell=True, capture_output=True, text=True, timeout=100)
                assert done.returncode == 0, f"line {line}: {body}: {done.stderr}"
                printed.write(done.stdout)
            if promised is not None:
                results.append([line, promised, printed.getvalue()])
    finally:
        codes = [_stop(node) for node in nodes]
    assert codes == [0] * len(nodes), codes
    return results


def _start(command, port):
    # exec: the signal must reach the node, not a shell around it.
    node = subprocess.Popen(f"exec {command}", shell=True, stderr=subprocess.PIPE)
    end = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=START_S).close()
            return node
        except OSError:
            assert node.poll() is None, node.stderr.read().decode()
            assert time.monotonic() < end, f"{command} was not ready within {START_S} s"
            time.sleep(0.02)


def _stop(node):
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=60)
    return node.returncode


if __name__ == "__main__":
    print(json.dumps(run_page(Path(sys.argv[1]), int(sys.argv[2]))))
