"""The options that more than one command takes, each written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from penstock.cli.option_groups import OptionGroup
from penstock.cli.settings import Settings, read_settings
from penstock.core.errors import InvalidInput, Refused
from penstock.core.names import check_name
from penstock.security.tls import TlsSettings

if TYPE_CHECKING:
    from penstock.cli.folders.policy import ModelFolder
    from penstock.serving.settings import Following

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Home = Annotated[Path | None, typer.Option(help="Where state is kept (default: $PENSTOCK_HOME or ~/.penstock).")]

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .penstock file.")]

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
Ref = Annotated[str, typer.Argument(metavar="REF", help="MODEL, MODEL/7 or MODEL@ALIAS.")]
Expect = Annotated[str, typer.Option(metavar="N|none", help="Refuse unless the alias points there now.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag of the version.")]
Metrics = Annotated[list[str] | None, typer.Option("--metric", metavar="KEY=NUMBER", help="A metric of the version.")]
Reason = Annotated[str, typer.Option(help="Why; it is written into the audit log.")]

GrpcPort = Annotated[
    int, typer.Option(metavar="N", min=0, max=65535, help="The node's port for gRPC; 0 is none. Needs the extra grpc.")
]


class Place(OptionGroup, frozen=True):
    """Where the registry is."""

    home: Home = None
    database: Annotated[
        str,
        typer.Option(help="sqlite:///PATH or postgresql://... (default: $PENSTOCK_DATABASE or a file in the home)."),
    ] = ""
    artifacts: Annotated[
        str, typer.Option(help="A folder or s3://BUCKET/PREFIX (default: $PENSTOCK_ARTIFACTS or a folder in the home).")
    ] = ""

    def settings(self, environ: Mapping[str, str]) -> Settings:
        """The settings of the environment, where no option says otherwise."""
        given = {
            "PENSTOCK_HOME": str(self.home or ""),
            "PENSTOCK_DATABASE": self.database,
            "PENSTOCK_ARTIFACTS": self.artifacts,
        }
        return read_settings({**environ, **{name: text for name, text in given.items() if text}})


LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Listening(OptionGroup, frozen=True):
    """Who reaches a port, and how it proves itself."""

    host: Annotated[
        str, typer.Option(help="The address to listen on; any but loopback needs keys and TLS, or --insecure.")
    ] = "127.0.0.1"
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate and its chain, PEM: speak TLS.")
    ] = None
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key, PEM.")] = None
    tls_client_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Let in clients with a certificate of this authority alone.")
    ] = None
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond loopback without keys and TLS.")] = False

    def tls(self) -> TlsSettings | None:
        """What is spoken there, None for plain HTTP."""
        if self.tls_cert is None or self.tls_key is None:
            if self.tls_cert or self.tls_key or self.tls_client_ca:
                raise typer.BadParameter("TLS needs both --tls-cert and --tls-key")
            return None
        client_ca = self.tls_client_ca.absolute() if self.tls_client_ca is not None else None
        return TlsSettings(certificate=self.tls_cert.absolute(), key=self.tls_key.absolute(), client_ca=client_ca)

    def require_key(self, what: str, *, keys: bool) -> bool:
        """Whether nobody may call without a key, whatever the routes will say; `keys` tells that they can have some.

        Raises Refused (`insecure-address`), which names `what` would listen.
        """
        if self.host in LOOPBACK or self.insecure:
            return False
        missing = [name for name, there in (("keys", keys), ("TLS", self.tls() is not None)) if not there]
        if missing:
            raise Refused(
                "insecure-address",
                f"{self.host} is reachable from other machines, and {what} has no {' and no '.join(missing)}",
                hint="keep 127.0.0.1, give --tls-cert, --tls-key and (to serve) --access, or add --insecure",
            )
        return True


class Serving(Listening, frozen=True):
    """How a node listens, and with how many processes and threads it answers."""

    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port to listen on.")] = 8080
    grpc_port: GrpcPort = 0
    processes: Annotated[
        int, typer.Option(metavar="N", min=0, help="Event loops that share the port; 0 is one per usable core.")
    ] = 0
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Model processes per version, for models that need one.")
    ] = 1
    threads: Annotated[
        int, typer.Option(metavar="N", min=1, help="Threads for models too slow for the event loop.")
    ] = 1
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Let model processes open pickles that have a waiver.")
    ] = False
    no_log: Annotated[bool, typer.Option("--no-log", help="Keep no prediction log.")] = False
    model_control: Annotated[
        bool, typer.Option("--model-control", help="Let callers load and unload models (/v2/repository).")
    ] = False


class Folders(OptionGroup, frozen=True):
    """Folders of numbered versions, named as TensorFlow Serving's flags name them."""

    model_base_path: Annotated[
        Path | None,
        typer.Option(
            "--model-base-path", "--model_base_path", metavar="DIR",
            help="Serve and follow a folder of numbered versions, as TensorFlow Serving has them.",
        ),
    ] = None  # fmt: skip
    model_name: Annotated[
        str, typer.Option("--model-name", "--model_name", metavar="NAME", help="The name of that model.")
    ] = "default"
    model_config_file: Annotated[
        Path | None,
        typer.Option(
            "--model-config-file", "--model_config_file", metavar="FILE", exists=True, dir_okay=False,
            help="Serve and follow the folders of a TensorFlow Serving model config file.",
        ),
    ] = None  # fmt: skip

    def models(self) -> tuple[ModelFolder, ...]:
        """The folders to serve, none if no option names any; raises InvalidInput (`invalid-model-config`)."""
        base_path, config = self.model_base_path, self.model_config_file
        if base_path is None and config is None:
            return ()
        from penstock.cli.folders.config_text import read_config
        from penstock.cli.folders.policy import ModelFolder

        if base_path is not None:
            if config is not None:
                raise typer.BadParameter("give either --model-base-path or --model-config-file")
            return (ModelFolder(name=check_name(self.model_name, "model"), base_path=str(base_path.absolute())),)
        try:
            text = config.read_text() if config is not None else ""
        except UnicodeDecodeError:
            raise InvalidInput("invalid-model-config", f"{config} is not text") from None
        return read_config(text)


class Control(OptionGroup, frozen=True):
    """Which control a node follows."""

    control: Annotated[str, typer.Option(metavar="URL", help="The control to follow, instead of a file.")] = ""
    key_file: Annotated[Path | None, typer.Option(help="The file with the node's key for control.")] = None
    advertise: Annotated[
        str, typer.Option(metavar="URL", help="Where others reach this node, if not where it listens.")
    ] = ""
    ca_file: Annotated[Path | None, typer.Option(help="The authority that control's certificate must be from.")] = None
    cert_file: Annotated[Path | None, typer.Option(help="The node's own certificate, for mutual TLS.")] = None
    cert_key_file: Annotated[Path | None, typer.Option(help="The private key of that certificate.")] = None

    def following(self) -> Following | None:
        """The settings of a node that follows; raises InvalidInput (`invalid-control`) for what is no address."""
        if not self.control:
            return None
        from penstock.serving.settings import Following

        parts = urlsplit(self.control)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise InvalidInput(
                "invalid-control", f"{self.control!r} is no address of control", hint="write http://127.0.0.1:8700"
            )
        # Absolute: the node's processes may stand elsewhere.
        files = {name: path.absolute() for name in _FILES if (path := getattr(self, name)) is not None}
        return Following(control=self.control, advertise=self.advertise, **files)


_FILES = ("key_file", "ca_file", "cert_file", "cert_key_file")
