"""The server reflection protocol over the files a service was generated from."""

import grpc
import reflection_pb2 as wire

SERVICE = "grpc.reflection.v1alpha.ServerReflection"


def handler(*files):
    by_name = {file.name: file for file in (*files, wire.DESCRIPTOR)}
    services = [service for file in by_name.values() for service in file.services_by_name.values()]

    def with_symbol(symbol):
        for service in services:
            if symbol == service.full_name or symbol.startswith(service.full_name + "."):
                return service.file
        messages = (m for file in by_name.values() for m in file.message_types_by_name.values())
        return next((m.file for m in messages if m.full_name == symbol), None)

    def answer(request):
        made = wire.ServerReflectionResponse(original_request=request)
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            named = [wire.ServiceResponse(name=service.full_name) for service in services]
            made.list_services_response.service.extend(named)
            return made
        asked = getattr(request, kind) if kind else ""
        file = by_name.get(asked) if kind == "file_by_filename" else with_symbol(asked)
        if file:
            made.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)
        else:
            made.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
            made.error_response.error_message = f"not known: {asked}"
        return made

    method = grpc.stream_stream_rpc_method_handler(
        lambda requests, _context: map(answer, requests),
        request_deserializer=wire.ServerReflectionRequest.FromString,
        response_serializer=wire.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(SERVICE, {"ServerReflectionInfo": method})
