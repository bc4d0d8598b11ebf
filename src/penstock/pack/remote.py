"""An original that lives in a child process: see `child`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from penstock.bundle.manifest import Artifact
from penstock.core import errors
from penstock.core.errors import InvalidInput, ModelFailed, PenstockError
from penstock.core.frames import decode_frame, encode_frame
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.convert import Candidate
from penstock.pack.lock import Lock
from penstock.pack.original import Description
from penstock.runtime.messages import read_message, write_message


class Child:
    """A process that answers one question at a time. It is a context: leaving it ends the process.

    With a `lock` it runs in that environment, and answers what `penstock.runtime.trial` does.
    """

    def __init__(self, lock: Lock | None = None) -> None:
        asks, self._questions = os.pipe()
        self._answers, says = os.pipe()
        # -P: a json.py in the working folder must not be imported in place of the real one.
        python, module = (lock.python, "penstock.runtime.trial") if lock else (sys.executable, "penstock.pack.child")
        command = [python, "-P", "-m", module, str(asks), str(says)]
        self._code = None if lock is None or lock.here else _own_code()
        environment = {**os.environ, "PYTHONPATH": self._code.name} if self._code else None
        # Its standard output is our error stream: what a model prints must not end up in a command's --json.
        # A session of its own: Ctrl-C is for us, who end it; it would show where it was instead.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sys.__stderr__, pass_fds=(asks, says), start_new_session=True,
            env=environment,
        )  # fmt: skip
        os.close(asks)
        os.close(says)
        self._to, self._from = os.fdopen(self._questions, "wb"), os.fdopen(self._answers, "rb")

    def ask(self, do: str, tensors: Tensors | None = None, **meta: Any) -> tuple[Tensors, dict[str, Any]]:
        """Ask and wait; raises what the child raised, and ModelFailed("model-died") when it is gone."""
        try:
            write_message(self._to, encode_frame(tensors or {}, {"do": do, **meta}))
            answer = read_message(self._from)
        except BrokenPipeError:
            answer = None
        if answer is None:
            code = self._process.wait()
            raise ModelFailed("model-died", f"the model ended its process ({_how(code)}) when asked to {do}")
        results, said = decode_frame(answer)
        if "error" in said:
            raise _error(said["error"])
        return results, said

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._code is not None:
            self._code.cleanup()
        for pipe in (self._to, self._from):
            try:
                pipe.close()
            except BrokenPipeError:
                # A question it did not live to read was still in the buffer.
                continue

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _own_code() -> tempfile.TemporaryDirectory[str]:
    """A folder from which another Python can import this package and nothing else of ours."""
    folder = tempfile.TemporaryDirectory(prefix="penstock-code-")
    (Path(folder.name) / "penstock").symlink_to(Path(__file__).parents[1], target_is_directory=True)
    return folder


def _how(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


_CLASSES: dict[str, type[PenstockError]] = {
    kind.kind: kind
    for kind in (errors.InvalidInput, errors.NotFound, errors.Refused, errors.Unsupported, errors.Unavailable)
}


def _error(said: Mapping[str, Any]) -> PenstockError:
    kind = _CLASSES.get(str(said.get("kind")), ModelFailed)
    return kind(str(said.get("code"))[:60], str(said.get("message"))[:1000], hint=str(said.get("hint", ""))[:500])


class RemoteOriginal:
    """See `Original`. The file is stored as it was given, with the files that belong to it.

    A model that brings a `lock` is opened in that environment, and described by who read its files.
    """

    def __init__(self, path: Path, artifact: Artifact, beside: Mapping[str, Path], *, lock: Lock | None = None,
                 description: Description | None = None) -> None:  # fmt: skip
        self._artifact = artifact
        self.lock = lock
        # Opened from a copy that holds what the bundle will hold: a class that reads any other file fails here and
        # now, not in production, and a file that changes meanwhile is not stored in another state than it was proven.
        self._stage = Path(tempfile.mkdtemp(prefix="penstock-model-"))
        self._child = Child(lock)
        try:
            for name, source in {Path(artifact.path).name: path, **beside}.items():
                _copy(source, self._stage / "original" / name)
            stored = str(self._stage / artifact.path)
            _, said = self._child.ask("open", path=stored, artifact=msgspec.to_builtins(artifact),
                                     description=msgspec.to_builtins(description))  # fmt: skip
            self.description = msgspec.convert(said.get("description"), Description)
            if self.description.runtime == "statsmodels":
                self._artifact = msgspec.structs.replace(artifact, runtime="statsmodels")
        except msgspec.ValidationError as error:
            self.close()
            raise InvalidInput("damaged-model", f"{path.name} describes itself wrongly: {error}") from None
        except BaseException:
            self.close()
            raise

    def probe(self, draft: Signature, inputs: Tensors, options: dict[str, Any]) -> Tensors:
        """See `Original.probe`."""
        return self._child.ask("probe", inputs, signature=msgspec.to_builtins(draft), options=options)[0]

    def bind(self, signature: Signature, options: dict[str, Any]) -> None:
        """See `Original.bind`."""
        self._child.ask("bind", signature=msgspec.to_builtins(signature), options=options)

    def run(self, inputs: Tensors) -> Tensors:
        """See `Original.run`."""
        return self._child.ask("run", inputs)[0]

    def seconds(self, inputs: Tensors) -> float:
        """See `Original.seconds`."""
        return float(self._child.ask("seconds", inputs)[1]["seconds"])

    def convert(self) -> tuple[list[Candidate], str]:
        """See `Original.convert`."""
        models, said = self._child.ask("convert")
        forms = [
            msgspec.structs.replace(
                msgspec.convert({**form, "model": b""}, Candidate), model=models[str(number)].tobytes()
            )
            for number, form in enumerate(said["forms"])
        ]
        return forms, str(said["reason"])

    def store(self, folder: Path) -> Artifact:
        """See `Original.store`."""
        for source in sorted(self._stage.rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                _copy(source, folder / source.relative_to(self._stage))
        return self._artifact

    def close(self) -> None:
        """See `Original.close`."""
        self._child.close()
        shutil.rmtree(self._stage, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
