"""The texts with which a call is refused, word for word those of Triton. Pure.

HAProxy's configuration, the front desk and workers all take them from here, so they cannot differ.
"""


def unknown_model(model: str) -> str:
    """Nobody ever heard of the model."""
    return f"Request for unknown model: '{model}' is not found"


def missing_version(model: str, version: str) -> str:
    """The model is known and has no such version."""
    return f"Request for unknown model: '{model}' version {version} is not found"


def nothing_available(model: str) -> str:
    """The model is known and none of its versions is ready."""
    return f"Request for unknown model: '{model}' has no available versions"


def version_not_ready(model: str, version: str) -> str:
    """The version exists and cannot answer now."""
    return f"Request for unknown model: '{model}' version {version} is not at ready state"


def nothing_measured(model: str, *, has_others: bool) -> str:
    """Statistics of what is not ready; `has_others`: other versions of the model are."""
    if has_others:
        return f"requested model version is not available for model '{model}'"
    return f"requested model '{model}' is not available"


def unparsable_version(version: str) -> str:
    """A gRPC message whose version is no decimal number."""
    return (
        f"failed to get model version from specified version string '{version}' "
        "(details: not a decimal number), version should be an integral value > 0"
    )


def version_below_one(version: str) -> str:
    """A gRPC message whose version is a number, and 0 or less."""
    return f"invalid model version specified '{version}' , version should be an integral value > 0"


def message_too_large(size_bytes: str, limit_bytes: int) -> str:
    """A body that is longer than the instance's limit."""
    return f"{message_too_long(size_bytes, limit_bytes)}, or raise BASCULE_MAX_REQUEST_BYTES"


def message_too_long(size_bytes: str, limit_bytes: int) -> str:
    """A body that is longer than its call's own limit."""
    return f"Received message larger than max ({size_bytes} vs. {limit_bytes}): send less"


def invalid_timeout(text: str) -> str:
    """A `grpc-timeout` header of another form."""
    return f"invalid grpc-timeout '{text}': up to 8 digits and one of H M S m u n expected"


def unknown_coding(text: str) -> str:
    """A `grpc-encoding` header that names a coding which we do not read."""
    return f"Unsupported compression type: grpc-encoding '{text}', identity, gzip or deflate work"


SERVER_EXITING = "Server exiting"
GRPC_SERVER_EXITING = "GRPC server is shutting down and has stopped accepting new requests."
NOT_FOUND = "Not Found"
METHOD_NOT_ALLOWED = "Method Not Allowed"
UNKNOWN_METHOD = "unknown method: a path of the form /package.Service/Method is expected"
NO_MESSAGE = "the call ended without a message: send exactly one, which may be empty"
SECOND_MESSAGE = "the call has a second message: a unary call has exactly one"
NO_MODEL_NAME = (
    "malformed protobuf message, or one without a model name: a ModelInferRequest with model_name "
    "(field 1) is expected"
)
WORKER_DIED = "the worker died while it ran this call; it may have been executed"
FRONT_DESK_DIED = "the front desk ended during this call; it may have been executed"
MALFORMED_HTTP = (
    "malformed HTTP/1.1, or its client closed its side of the connection before the answer: one "
    "sound body length, ASCII, a head of up to 31 KiB and a connection that stays open are expected"
)
