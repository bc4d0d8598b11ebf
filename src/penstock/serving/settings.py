"""What a node is told when it starts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.predlog.writer import RecordingLimits
from penstock.runtime.worker.policy import WorkerPolicy
from penstock.security.tls import TlsSettings
from penstock.serving.http.door import HttpLimits

SHADOW_NICE = 10


class Following(msgspec.Struct, frozen=True, kw_only=True):
    """Which control a node follows, and as whom.

    `control` is a URL, or `unix://` and the path of a socket of this machine. `key_file` holds the node's key.
    `advertise` is the address it tells others, its own by default. The certificate authority and the certificate are
    for control behind TLS and mutual TLS.
    """

    control: str
    key_file: Path | None = None
    advertise: str = ""
    ca_file: Path | None = None
    cert_file: Path | None = None
    cert_key_file: Path | None = None
    report_s: float = 5.0


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `home` holds bundles, environments and the last good routes.

    `processes` are event loops that share the port; `workers` are model processes of each version, `threads` run an
    inline model that is too slow for the event loop. With `require_key` routes without `access` let nobody call: a node
    that others reach must not be opened by a document that forgot its keys. With `model_control` callers may load and
    unload endpoints. Without a `grpc_port` there is no gRPC. `aliases` are other paths of the node's own addresses. An
    `early` node listens while it loads, and says that it is not ready. Without `recording` there is no prediction log.
    """

    routes: Path
    home: Path
    name: str = "local"
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = 0
    processes: int = 1
    workers: int = 1
    threads: int = 1
    drain_s: float = 30
    settle_s: float = 0
    allow_pickle: bool = False
    worker_memory_bytes: int = 0
    http: HttpLimits = HttpLimits()
    tls: TlsSettings | None = None
    require_key: bool = False
    model_control: bool = False
    aliases: dict[str, str] = {}
    early: bool = False
    following: Following | None = None
    log_file: Path | None = None
    recording: RecordingLimits | None = RecordingLimits()

    @property
    def address(self) -> str:
        """Where the node answers."""
        return address_of(self.host, self.port, tls=self.tls is not None)

    @property
    def state(self) -> Path:
        """The node's own folder: counters, sockets of model processes, the last good routes."""
        return self.home / "nodes" / self.name

    @property
    def bundles(self) -> Path:
        """Where bundles are kept by digest."""
        return self.home / "bundles"

    @property
    def sockets(self) -> Path:
        """Where the model processes listen."""
        return self.state / "workers"

    @property
    def shadow_sockets(self) -> Path:
        """Where the model processes of shadows listen: they are their own, also of a bundle that an arm has."""
        return self.state / "shadows"

    @property
    def predictions(self) -> Path:
        """The node's part of the prediction log."""
        return self.home / "predlog" / self.name

    def shadow_policy(self) -> WorkerPolicy:
        """What the node allows the model processes of shadows: one each, which gives way."""
        return msgspec.structs.replace(self.worker_policy(), workers=1, nice=SHADOW_NICE)

    def worker_policy(self) -> WorkerPolicy:
        """What the node allows its model processes."""
        return WorkerPolicy(
            workers=self.workers,
            threads=self.threads,
            allow_pickle=self.allow_pickle,
            memory_bytes=self.worker_memory_bytes,
            drain_s=self.drain_s,
        )


def address_of(host: str, port: int, *, tls: bool) -> str:
    """The URL of a port.

    Example:
        >>> address_of("127.0.0.1", 8080, tls=False), address_of("::1", 8080, tls=True)
        ('http://127.0.0.1:8080', 'https://[::1]:8080')
    """
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def decode_path(kind: type, value: object) -> object:
    """Paths travel as text to a node's other processes."""
    if kind is Path:
        return Path(str(value))
    raise TypeError(kind)
