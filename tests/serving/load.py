"""Clients that ask all the time and note every answer."""

import http.client
import json
import threading
import time


class Callers:
    """Threads that call one endpoint until told to stop; `answers` are (status, version header, body, seconds)."""

    def __init__(self, node, path, body, count=4, check=None):
        self.answers = []
        self.errors = []
        self.sent = 0
        self._node, self._path, self._body = node, path, body
        self._check = check
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(index,)) for index in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, index):
        connection = self._node.connection()
        number = index
        while not self._stop.is_set():
            body = self._body(number) if callable(self._body) else self._body
            began = time.monotonic()
            with self._lock:
                self.sent += 1
            try:
                connection.request("POST", self._path, json.dumps(body))
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()
                connection = self._node.connection()
                continue
            took = time.monotonic() - began
            self.answers.append((answer.status, answer.getheader("penstock-version"), json.loads(data), took, number))
            number += len(self._threads)
        connection.close()

    def statuses(self):
        return {status for status, *_ in self.answers}


def burst(node, path, body, rate_hz, seconds, headers=None):
    """Open loop: calls at a fixed rate whatever the answers do; [(status, headers, seconds)] of all of them."""
    out, threads = [], []

    def call():
        began = time.monotonic()
        status, got, _ = node.post(path, body, headers)
        out.append((status, got, time.monotonic() - began))

    began = time.monotonic()
    for number in range(int(rate_hz * seconds)):
        time.sleep(max(0.0, began + number / rate_hz - time.monotonic()))
        threads.append(threading.Thread(target=call))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return out


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
