"""Calls to `/invocations`: what MLflow's scoring server takes, what SageMaker's containers are sent, and our own forms.

Which one a body is in follows from its content type and its keys. `dataframe_split`, `dataframe_records`, `instances`
and `inputs` are MLflow's; `messages`, `prompt` and `input` are its form for language models, whose answer is not
wrapped; `rows` is Penstock's, and `inputs` with named, shaped tensors is the Open Inference Protocol's. Azure ML's
`input_data` and `data` are taken where they are asked for.

Source: mlflow/pyfunc/scoring_server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.protocols.csv_rows import CsvReader, csv_of
from penstock.protocols.form import NO_HEADERS, Codec, Headers, ModelView
from penstock.protocols.json_rows import Bound, RowReader, bare_or_named, predictions, read_json, whole
from penstock.protocols.media import CSV_TYPE, JSON_TYPE, content_of, wanted
from penstock.protocols.oip.infer import LENGTH_HEADER, InferCodec
from penstock.protocols.problems import JSON
from penstock.protocols.rows import RowsCodec

LANGUAGE_KEYS = ("messages", "prompt", "input")
FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
AZURE_FORMATS = ("input_data", "data")
_CSV = b"content-type: text/csv; charset=utf-8\r\n"
_LINES = b"content-type: application/jsonlines\r\n"
_encode = msgspec.json.Encoder().encode


class Style(msgspec.Struct, frozen=True):
    """How the answer is written.

    `form` is its JSON: `wrapped` in `predictions`, `bare`, `unwrapped` (of a language model; with `single` one value,
    no list), or that of the contract which the call was in, whose own style is `inner`; `named` tells that the call
    came with an id. `kind` is the content type.
    """

    form: Literal["wrapped", "bare", "unwrapped", "rows", "infer"]
    kind: str
    single: bool = False
    named: bool = False
    inner: Any = None


class InvocationsCodec:
    """Reads calls for one version and writes its answers. `azure` adds the keys of Azure ML.

    `reader` is what reads rows, where it is not one for all of them.
    """

    def __init__(self, view: ModelView, *, azure: bool = False, reader: RowReader | None = None) -> None:
        signature, text_only = view.signature, view.text_only
        self._signature: Signature = signature
        self._reader = RowReader(signature, text_only=text_only) if reader is None else reader
        self._csv = CsvReader(self._reader)
        self._formats = FORMATS + AZURE_FORMATS if azure else FORMATS
        self._hint = f"send exactly one of {', '.join(self._formats)}"
        # Forms of other contracts, which read and write by themselves.
        self._rows: Codec = RowsCodec(view.endpoint, view.version, signature, text_only=text_only)
        self._infer: Codec = InferCodec(view.endpoint, view.version, signature, text_only=text_only)
        self._read: dict[str, Callable[[Any], Bound]] = {
            "dataframe_split": self._split,
            "dataframe_records": self._reader.rows,
            "instances": self._reader.rows,
            "inputs": self._whole,
            "input_data": self._azure,
            "data": self._azure,
        }

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request; raises InvalidInput, UnsupportedMedia."""
        kind = wanted(headers.get(b"accept"))
        if LENGTH_HEADER in headers:
            return self._other(self._infer, "infer", body, headers, kind)
        content, header = content_of(headers.get(b"content-type"))
        if content == JSON_TYPE:
            return self._json(body, headers, kind)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise InvalidInput("not-text", "the body is not UTF-8") from None
        if content == CSV_TYPE:
            bound, rows = self._csv.read(text, header)
        else:
            bound, rows = self._reader.rows([read_json(line.encode()) for line in text.split("\n") if line.strip()])
        return Call(bound, rows, style=Style("wrapped", kind))

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The body of the answer and its content type."""
        style: Style = call.style
        if style.kind != JSON_TYPE and not call.binary:
            if call.outputs:
                outputs = {name: outputs[name] for name in call.outputs}
            return self._lines(call, outputs, style.kind)
        if style.form == "infer":
            # There an id that was not given is not sent back; here every call was given one.
            call.id = call.id if style.named else None
            call.style = style.inner
            return self._infer.encode(call, outputs)
        if style.form == "rows":
            return self._rows.encode(call, outputs)
        answers: Any = predictions(outputs, call.rows) if self._signature.batched else None
        if answers is None:
            answers = bare_or_named(whole(outputs))
        elif style.single:
            answers = answers[0]
        return _encode({"predictions": answers} if style.form == "wrapped" else answers), JSON

    def _lines(self, call: Call, outputs: Tensors, kind: str) -> tuple[bytes, bytes]:
        if kind == CSV_TYPE:
            return csv_of(outputs, call.rows).encode(), _CSV
        answers = predictions(outputs, call.rows)
        if answers is None:
            raise InvalidInput("no-rows", "an output of this model is not by rows", hint="ask for JSON")
        return b"".join(_encode(answer) + b"\n" for answer in answers), _LINES

    # ---- JSON

    def _json(self, body: bytes, headers: Headers, kind: str) -> Call:
        document = read_json(body)
        if type(document) is not dict:
            raise InvalidInput("invalid-invocation", "the body is no JSON object", hint=self._hint)
        if any(key in document for key in LANGUAGE_KEYS):
            return self._language(document, kind)
        if "rows" in document:
            return self._other(self._rows, "rows", body, headers, kind)
        given = [key for key in self._formats if key in document]
        if len(given) != 1:
            said = f"the body has {' and '.join(given) or 'none of them'}"
            raise InvalidInput("invalid-invocation", said, hint=self._hint)
        value = document[given[0]]
        if given[0] == "inputs" and _is_tensors(value):
            return self._other(self._infer, "infer", body, headers, kind)
        bound, rows = self._read[given[0]](value)
        form: Literal["wrapped", "bare"] = "bare" if given[0] in AZURE_FORMATS else "wrapped"
        return Call(bound, rows, parameters=_parameters(document), style=Style(form, kind))

    def _other(self, codec: Codec, form: Literal["rows", "infer"], body: bytes, headers: Headers, kind: str) -> Call:
        call = codec.decode(body, headers)
        call.style = Style(form, kind, named=call.id is not None, inner=call.style)
        return call

    def _split(self, value: Any) -> Bound:
        if type(value) is not dict or type(value.get("data")) is not list:
            raise InvalidInput(
                "invalid-invocation", "dataframe_split is no object with `data`", hint="it has columns, index and data"
            )
        columns = value.get("columns")
        if columns is not None and type(columns) is not list:
            raise InvalidInput("invalid-invocation", "the columns of dataframe_split are no list")
        index = value.get("index")
        if index is not None and (type(index) is not list or len(index) != len(value["data"])):
            raise InvalidInput(
                "invalid-invocation", "the index of dataframe_split is no list as long as data", hint="leave it out"
            )
        return self._reader.table(columns, value["data"])

    def _whole(self, value: Any) -> Bound:
        """MLflow's `inputs`: an object of columns, or the values of the only input."""
        if type(value) is dict:
            return self._reader.columns(value)
        if type(value) is list and value and type(value[0]) is dict:
            return self._reader.rows(value)
        return self._reader.tensor(value)

    def _azure(self, value: Any) -> Bound:
        """Azure ML's `input_data` and `data`: what pandas splits, columns, or rows."""
        if type(value) is dict and "data" in value and value.keys() <= {"columns", "index", "data"}:
            return self._split(value)
        return self._whole(value)

    def _language(self, document: dict[str, Any], kind: str) -> Call:
        """The form of language models: keys that are inputs are values of one row, all others are parameters."""
        names = [field.name for field in self._signature.inputs]
        given = {name: document[name] for name in names if name in document}
        if not any(key in given for key in LANGUAGE_KEYS):
            asked = " and ".join(key for key in LANGUAGE_KEYS if key in document)
            raise InvalidInput(
                "no-language-input",
                f"the body has {asked}, and this model has no such input",
                hint=f"this model takes {', '.join(names[:40])}: {self._hint}",
            )
        parameters = {key: value for key, value in document.items() if key not in given}
        single = not any(type(value) is list for key, value in given.items() if key != "messages")
        columns = {name: _texts_of(name, value) for name, value in given.items()}
        bound, rows = self._reader.columns(columns)
        style = Style("unwrapped", kind, single=single)
        return Call(bound, rows, parameters=parameters or None, style=style)


def _texts_of(name: str, value: Any) -> Any:
    """A conversation is one value, as JSON text; everything else is a value per row, or one for one row."""
    return [_encode(value).decode()] if name == "messages" else value


def _is_tensors(value: Any) -> bool:
    """Whether `inputs` are those of the Open Inference Protocol."""
    return (
        type(value) is list
        and bool(value)
        and all(type(one) is dict and one.keys() >= {"name", "shape", "datatype"} for one in value)
    )


def _parameters(document: dict[str, Any]) -> dict[str, Any] | None:
    # Vertex AI says `parameters`, and its route may be this one.
    value = document.get("params")
    if value is None:
        value = document.get("parameters")
    if value is not None and type(value) is not dict:
        raise InvalidInput("invalid-invocation", "the parameters are no JSON object")
    return value or None
