"""Turn the frozen nouns of `model` into JSON documents and back.

Written once over `dataclasses.fields`, so that no noun needs code of its own. Sets are sorted, keys
are sorted, `bytes` are base64: the same value is always the same text.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin

from minify.errors import MinifyError

SCHEMA = 1
T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Reduce a noun to what JSON knows: dict, list, str, int, float, bool, None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        kind = getattr(type(value), "KIND", None)
        return {"kind": kind, **plain} if kind else plain
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((to_plain(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    return value


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write a noun as a JSON document with its name and the schema number.

    Without `indent` on one line, which is several times faster to write.
    """
    document = {"schema": SCHEMA, "document": type(value).__name__, "value": to_plain(value)}
    return json.dumps(document, sort_keys=True, indent=indent, ensure_ascii=True) + "\n"


def loads(text: str, kind: type[T]) -> T:
    """Read a document written by `dumps`.

    Raises MinifyError for text that is no such document or is of another schema.
    """
    try:
        document = json.loads(text)
        if document["document"] != kind.__name__ or document["schema"] != SCHEMA:
            raise MinifyError(
                f"document is {document['document']} of schema {document['schema']}, "
                f"expected {kind.__name__} of schema {SCHEMA}",
                hint="it was written by another version of minify; run the stage again",
            )
        return typing.cast(T, _from_plain(document["value"], kind))
    except (ValueError, KeyError, TypeError) as error:
        raise MinifyError(f"not a {kind.__name__} document: {error}") from error


def _from_plain(plain: Any, kind: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _from_union(plain, get_args(kind))
    if origin is tuple:
        return _tuple(plain, get_args(kind))
    if origin in (frozenset, set):
        return frozenset(_from_plain(v, get_args(kind)[0]) for v in plain)
    if origin is not None and issubclass(origin, Mapping):
        return {k: _from_plain(v, get_args(kind)[1]) for k, v in plain.items()}
    if isinstance(kind, type):
        return _from_class(plain, kind)
    return plain


def _from_class(plain: Any, kind: type) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = {f.name for f in dataclasses.fields(kind)}
        known = {k: _from_plain(v, hints[k]) for k, v in plain.items() if k in names}
        return kind(**known)
    if issubclass(kind, enum.Enum):
        return kind(plain)
    if kind is bytes:
        return base64.b64decode(plain)
    return plain


def _from_union(plain: Any, options: tuple[Any, ...]) -> Any:
    if plain is None:
        return None
    real = [o for o in options if o is not type(None)]
    if isinstance(plain, dict) and "kind" in plain:
        real = [o for o in real if getattr(o, "KIND", None) == plain["kind"]] or real
    return _from_plain(plain, real[0])


def _tuple(plain: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_from_plain(v, args[0]) for v in plain)
    return tuple(_from_plain(v, a) for v, a in zip(plain, args, strict=True))
