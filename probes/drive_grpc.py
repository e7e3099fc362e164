"""Call gRPC methods found by server reflection and say what came back.

Runs as `python3 -I drive_grpc.py` (Python 3.9 or newer) with the packages `grpcio` and
`grpcio-reflection`; the contract is in README.md. A drive is answered once per call: all but the
last answer have `more`, and `part` names the method. gRPC reflection protocol v1alpha.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from typing import Any

BODY_LIMIT = 65536  # bytes of an answer that are handed on
MOST_CALLS = 100
MOST_MESSAGES = 100  # of one answered stream
HIDDEN = ("grpc.reflection.",)


def channel_of(drive: dict[str, Any]) -> Any:
    """Open a channel, in TLS when told (the certificate is always checked: gRPC knows no other)."""
    import grpc

    host = f"[{drive['host']}]" if ":" in drive["host"] else drive["host"]
    target, tls = f"{host}:{drive['port']}", drive.get("tls") or {}
    options = [("grpc.enable_http_proxy", 0)]
    if not tls.get("on"):
        return grpc.insecure_channel(target, options=options)
    roots = None
    if tls.get("authority"):
        with open(tls["authority"], "rb") as file:
            roots = file.read()
    if tls.get("name"):
        options.append(("grpc.ssl_target_name_override", tls["name"]))
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options=options)


def methods(channel: Any) -> dict[str, Any]:
    """Every method the service names, by "package.Service/Method"."""
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )

    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    found = {}
    for name in sorted(database.get_services()):
        if not name.startswith(HIDDEN):
            for method in pool.FindServiceByName(name).methods:
                found[f"{name}/{method.name}"] = method
    return found


def wanted(drive: dict[str, Any], known: dict[str, Any]) -> list[tuple[str, str]]:
    """The calls asked for, else an empty request to each method that takes one message."""
    given = [(str(name), str(text)) for name, text in drive.get("calls") or ()]
    return given or [(n, "{}") for n, m in known.items() if not m.client_streaming][:MOST_CALLS]


def call(channel: Any, name: str, method: Any, text: str, timeout: float) -> Iterator[bytes]:
    """Call a method with a message in JSON; its answers as JSON, a stream's one by one."""
    from google.protobuf import json_format, message_factory

    request = message_factory.GetMessageClass(method.input_type)()
    json_format.Parse(text, request)
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    invoke = make(
        f"/{name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    answered = invoke(request, timeout=timeout)
    for number, message in enumerate(answered if method.server_streaming else [answered]):
        if number >= MOST_MESSAGES:
            answered.cancel()
            return
        yield json_format.MessageToJson(message, indent=None, sort_keys=True).encode()


def one_call(
    drive: dict[str, Any], channel: Any, method: Any, name: str, text: str
) -> dict[str, Any]:
    """Make one call; a status the service chose is good unless the call was asked for."""
    import grpc
    from google.protobuf import json_format

    lines: list[bytes] = []
    status, error = 0, ""
    try:
        for line in call(channel, name, method, text, float(drive.get("timeout", 30))):
            lines.append(line)
    except grpc.RpcError as refused:
        status = refused.code().value[0]
        error = f"gRPC status {refused.code().name}"
        lines.append(str(refused.details() or "").encode())
    except json_format.ParseError as wrong:
        error = f"not a request of {name}: {wrong}"
    ok = not error or (bool(not drive.get("calls")) and status not in (4, 14))
    return answer(drive, ok, b"\n".join(lines), error=error, status=status, part=name)


def answer(drive: dict[str, Any], ok: bool, body: bytes, **more: Any) -> dict[str, Any]:
    """An answer with the fields of `minify.model.Observation`."""
    return {
        "drive": drive["id"], "port": int(drive["port"]), "ok": ok, "status": 0, "headers": [],
        "body": base64.b64encode(body[:BODY_LIMIT]).decode("ascii"), "body_size": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(), "error": "", "protocol": "grpc", **more,
    }  # fmt: skip


def drive_one(drive: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Do one drive: what reflection says, then an answer per call."""
    import grpc

    with channel_of(drive) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=float(drive.get("timeout", 30)))
            known = methods(channel)
        except grpc.FutureTimeoutError:
            yield answer(drive, False, b"", error="no connection", protocol="")
            return
        except grpc.RpcError as refused:
            yield answer(drive, False, b"", error=f"no reflection: {refused.code().name}")
            return
        calls = wanted(drive, known)
        listed = "\n".join(known).encode()
        yield answer(drive, True, listed, part="reflection", more=bool(calls))
        for number, (name, text) in enumerate(calls, 1):
            if name in known:
                made = one_call(drive, channel, known[name], name, text)
            else:
                made = answer(drive, False, b"", error="no such method", part=name)
            yield {**made, "more": number < len(calls)}


def main() -> int:
    """Answer each line of requests until stdin ends; returns the contract's exit status."""
    for line in iter(sys.stdin.readline, ""):
        try:
            drives = json.loads(line)["drives"]
            for drive in drives:
                str(drive["id"]), str(drive["host"]), int(drive["port"]), wanted(drive, {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"drive_grpc: bad request: {error!r}", file=sys.stderr)
            return 2
        for drive in drives:
            for made in drive_one(drive):
                print(json.dumps(made), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
