"""Call a method of the catalogue and print what comes back: ask.py Method JSON..."""

import sys

import grpc
import shop_pb2 as shop
from google.protobuf import json_format


def main(name, *texts):
    method = shop.DESCRIPTOR.services_by_name["Catalog"].methods_by_name[name]
    requests = [json_format.Parse(t, getattr(shop, method.input_type.name)()) for t in texts]
    streams = (name == "Total", name == "ListItems")
    kinds = {(False, False): "unary_unary", (False, True): "unary_stream",
             (True, False): "stream_unary"}  # fmt: skip
    with grpc.insecure_channel("127.0.0.1:50051") as channel:
        call = getattr(channel, kinds[streams])(
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(shop, method.output_type.name).FromString,
        )
        try:
            answered = call(iter(requests) if streams[0] else requests[0], timeout=20)
            for message in answered if streams[1] else [answered]:
                print(json_format.MessageToJson(message, indent=None, sort_keys=True))
        except grpc.RpcError as error:
            print(error.code().name, error.details())
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
