"""Clients that ask a model over HTTP and gRPC all the time, and write down what they were told.

The model is `tests.fakes.models.tiny`, in any of its versions: the right answer is the same.
Nothing is asked twice; a connection is opened anew only after it broke, or for each request.
"""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from tests.fakes import models
from tests.fakes.waiting import until

LIMIT_S = 90.0
ROW = np.ones((1, 16), np.float32)
ANSWER = ROW @ models.WEIGHT + models.BIAS
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [1.0] * 16}]}
)


@dataclass
class Heard:
    """What the callers were told."""

    answered: Counter[str] = field(default_factory=Counter)
    """Right answers by version."""
    refused: list[str] = field(default_factory=list)
    """Replies that are no right answer."""
    broken: list[str] = field(default_factory=list)
    """Connections that ended without a reply."""

    def note(self, version: str, answer: object) -> None:
        """Count an answer, if it is right."""
        if np.allclose(np.asarray(answer, np.float32).ravel(), ANSWER.ravel()):
            self.answered[version] += 1
        else:
            self.refused.append(f"wrong answer by version {version}: {answer}")

    def until_more(self, count: int) -> None:
        """Wait for so many more right answers."""
        wanted = self.answered.total() + count

        def has_come() -> bool:
            assert self.answered.total() >= wanted, self.refused[-3:]
            return True

        until(has_come, f"{count} more answers", excused=(AssertionError,))


@contextmanager
def calling(http_port: int, grpc_port: int, model: str) -> Iterator[Heard]:
    """Ask a model until the block ends: kept connections, new ones, and gRPC."""
    heard, stop = Heard(), threading.Event()
    threads = [
        threading.Thread(target=_http, args=(http_port, model, heard, stop, keeps))
        for keeps in (True, True, False)
    ]
    threads.append(threading.Thread(target=_grpc, args=(grpc_port, model, heard, stop)))
    for thread in threads:
        thread.start()
    try:
        heard.until_more(20)
        yield heard
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _http(port: int, model: str, heard: Heard, stop: threading.Event, keeps: bool) -> None:  # noqa: FBT001  a thread's arguments
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    while not stop.wait(0.002):
        try:
            connection.request("POST", f"/v2/models/{model}/infer", BODY)
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            heard.broken.append(repr(error))
            connection.close()
            continue
        if reply.status == http.client.OK:
            told = json.loads(text)
            heard.note(told["model_version"], told["outputs"][0]["data"])
        else:
            heard.refused.append(f"{reply.status}: {text[:200]!r}")
        if not keeps:
            connection.close()
    connection.close()


def _grpc(port: int, model: str, heard: Heard, stop: threading.Event) -> None:
    x = triton_grpc.InferInput("x", list(ROW.shape), "FP32")
    x.set_data_from_numpy(ROW)
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        while not stop.wait(0.002):
            try:
                reply = client.infer(model, [x])
            except InferenceServerException as error:
                is_cut = error.status() == "StatusCode.UNAVAILABLE" and "{" not in str(error)
                (heard.broken if is_cut else heard.refused).append(str(error))
            else:
                heard.note(reply.get_response().model_version, reply.as_numpy("y"))
