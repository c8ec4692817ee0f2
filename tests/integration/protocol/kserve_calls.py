"""KServe's REST and gRPC clients against a running server; run by an interpreter that has them.

    python kserve_calls.py HTTP GRPC

Prints one JSON object: what each client said. Both register the protocol's messages under the names
that tritonclient uses, so they cannot live in one process with it.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable

import numpy as np
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferOutput,
    InferRequest,
    RESTConfig,
)


def request_to(model: str, *, is_binary: bool, request_id: str = "k1") -> InferRequest:
    """One row of ones, as JSON values or as numpy's bytes."""
    tensor = InferInput("x", [1, 16], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 16), np.float32), binary_data=is_binary)
    return InferRequest(model, [tensor], request_id=request_id)


def told(reply: object) -> dict[str, object]:
    """Say what matters of a reply."""
    outputs: list[InferOutput] = reply.outputs  # type: ignore[attr-defined]  # no types here
    return {
        "model": reply.model_name,  # type: ignore[attr-defined]
        "id": reply.id,  # type: ignore[attr-defined]
        "y": np.asarray(outputs[0].as_numpy()).tolist(),
        "datatype": outputs[0].datatype,
    }


async def refusal(call: Awaitable[object]) -> str:
    """Return what a refused call said."""
    try:
        await call
    except Exception as error:  # noqa: BLE001  whatever it is, its text is the answer
        return str(error)
    return ""


async def over_rest(http: str) -> dict[str, object]:
    """Everything that the REST client can ask."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1))
    url = f"http://{http}"
    return {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "tiny"),
        "unloaded": await client.is_model_ready(url, "spare"),
        "json": told(await client.infer(url, request_to("tiny", is_binary=False), "tiny")),
        "binary": told(await client.infer(url, request_to("tiny", is_binary=True), "tiny")),
        "refused": await refusal(
            client.infer(url, request_to("nobody", is_binary=False), "nobody")
        ),
    }


async def over_grpc(grpc: str) -> dict[str, object]:
    """Everything that the gRPC client can ask."""
    client = InferenceGRPCClient(grpc, timeout=90)
    try:
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": await client.is_model_ready("tiny"),
            "unloaded": await client.is_model_ready("spare"),
            "json": told(await client.infer(request_to("tiny", is_binary=False))),
            "binary": told(await client.infer(request_to("tiny", is_binary=True))),
            "refused": await refusal(client.infer(request_to("nobody", is_binary=False))),
        }
    finally:
        await client.close()


async def main() -> None:
    """Ask both, print once."""
    http, grpc = sys.argv[1:]
    print(json.dumps({"rest": await over_rest(http), "grpc": await over_grpc(grpc)}))  # noqa: T201


asyncio.run(main())
