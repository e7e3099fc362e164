"""A catalogue over gRPC: unary calls, streams both ways, status codes, reflection."""

import importlib
import json
import pathlib
import signal
import threading
from concurrent import futures

import grpc
import reflect
import shop_pb2 as shop

ITEMS = {
    item["id"]: shop.Item(**item)
    for item in json.loads(pathlib.Path(__file__).with_name("items.json").read_text("utf-8"))
}


def found(number, context):
    if number not in ITEMS:
        context.abort(grpc.StatusCode.NOT_FOUND, f"no item {number}")
    return ITEMS[number]


def get_item(request, context):
    return found(request.id, context)


def list_items(request, context):
    for item in ITEMS.values():
        if request.word in item.name:
            yield item


def total(requests, context):
    items = [found(request.id, context) for request in requests]
    return shop.Sum(items=len(items), cents=sum(item.cents for item in items))


def convert(request, context):
    name = request.currency.lower() or "eur"
    try:
        module = importlib.import_module(f"currencies.{name}")
    except ImportError:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no currency {request.currency}")
    return shop.Price(text=module.written(found(request.id, context).cents))


METHODS = {
    "GetItem": (grpc.unary_unary_rpc_method_handler, get_item),
    "ListItems": (grpc.unary_stream_rpc_method_handler, list_items),
    "Total": (grpc.stream_unary_rpc_method_handler, total),
    "Convert": (grpc.unary_unary_rpc_method_handler, convert),
}


def handler():
    service = shop.DESCRIPTOR.services_by_name["Catalog"]
    made = {}
    for name, (kind, function) in METHODS.items():
        method = service.methods_by_name[name]
        made[name] = kind(
            function,
            request_deserializer=getattr(shop, method.input_type.name).FromString,
            response_serializer=getattr(shop, method.output_type.name).SerializeToString,
        )
    return grpc.method_handlers_generic_handler(service.full_name, made)


def main():
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler(), reflect.handler(shop.DESCRIPTOR)))
    server.add_insecure_port("0.0.0.0:50051")
    server.start()
    print("catalogue of", len(ITEMS), "items", flush=True)
    ended.wait()
    server.stop(1).wait()


if __name__ == "__main__":
    main()
