"""gRPC server reflection: tells clients such as grpcurl which services and messages there are.

Everything comes from the private pool of `protos.descriptors`, which holds what is served here.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError

from protos.descriptors import POOL
from protos.generated import health_pb2, open_inference_pb2, reflection_pb2
from runtimes.errors import BasculeError, Code, InvalidArgumentError
from serving.edge.drain import Drain
from serving.edge.unary_calls import refuse, too_large
from serving.errors import WIRE
from serving.wire import coding

SERVICES: Final = tuple(
    sorted(
        service.full_name
        for module in (open_inference_pb2, health_pb2, reflection_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    )
)
NAMES: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""What it is asked as: both names carry the same messages."""
MAX_QUESTION_BYTES: Final = 1 << 16

Question = reflection_pb2.ServerReflectionRequest
Answer = reflection_pb2.ServerReflectionResponse


class Reflection:
    """Answers streams of questions."""

    def __init__(self, drain: Drain) -> None:
        """Take what says that the server goes."""
        self._drain = drain

    async def reflect(
        self,
        requests: AsyncIterator[bytes],
        context: Any,  # noqa: ANN401  grpc ships no types
    ) -> None:
        """Answer the questions of a stream, one after the other; a bad one ends it."""
        try:
            async with self._drain.interrupts():
                async for request in requests:
                    await context.write(answer(_parsed(request)).SerializeToString())
        except BasculeError as error:
            await refuse(context, error)
            raise


def answer(question: Question) -> Answer:
    """Answer one question."""
    reply = Answer(valid_host=question.host, original_request=question)
    kind = question.WhichOneof("message_request")
    if kind == "list_services":
        reply.list_services_response.SetInParent()
        for name in SERVICES:
            reply.list_services_response.service.add(name=name)
    elif kind in {"file_by_filename", "file_containing_symbol"}:
        name = getattr(question, kind)
        file = _by_name(name) if kind == "file_by_filename" else _by_symbol(name)
        if file is None:
            _refuse(reply, Code.NOT_FOUND, f"'{name[:200]}' is not known here")
        else:
            files = {each.name: each.serialized_pb for each in _with_imports(file)}
            reply.file_descriptor_response.file_descriptor_proto.extend(files.values())
    elif kind == "all_extension_numbers_of_type":
        reply.all_extension_numbers_response.base_type_name = question.all_extension_numbers_of_type
    elif kind == "file_containing_extension":
        _refuse(reply, Code.NOT_FOUND, "no message has extensions here")
    else:
        _refuse(reply, Code.INVALID_ARGUMENT, "the question is empty")
    return reply


def _parsed(request: bytes) -> Question:
    packing = coding.packing_of(request)
    if packing is not None:
        request = coding.inflate(request, packing, MAX_QUESTION_BYTES)
    if len(request) > MAX_QUESTION_BYTES:
        raise too_large(len(request), MAX_QUESTION_BYTES)
    try:
        return Question.FromString(request)
    except DecodeError as error:
        raise InvalidArgumentError("malformed protobuf message") from error


def _by_name(name: str) -> FileDescriptor | None:
    try:
        return POOL.FindFileByName(name)
    except KeyError:
        return None


def _by_symbol(symbol: str) -> FileDescriptor | None:
    """Find a symbol's file; that of a method or field is its service's or message's."""
    parent = symbol.rpartition(".")[0]
    for name in (symbol, parent):
        try:
            return POOL.FindFileContainingSymbol(name)
        except KeyError:
            continue
    return None


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    yield file
    for imported in file.dependencies:
        yield from _with_imports(imported)


def _refuse(reply: Answer, code: Code, text: str) -> None:
    reply.error_response.error_code = WIRE[code].grpc
    reply.error_response.error_message = text
