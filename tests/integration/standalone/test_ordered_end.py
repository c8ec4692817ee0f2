"""Clients that call on while an instance ends: none is left without an answer."""

import http
import http.client
import json
import select
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fakes.standalone_server import LIMIT_S, put_model, serving

CLIENTS = 8
ROW = {"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [1.0] * 16}
BODY = json.dumps({"inputs": [ROW]})


def last_word(port: int, begun: threading.Barrier) -> str:
    """Call again and again on one connection; return how it ended."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    connection.connect()
    has_begun = False
    try:
        # Closed while nothing is on its way: a client's pool looks, and takes another connection.
        while not select.select([connection.sock], [], [], 0)[0]:
            connection.request("POST", "/v2/models/m/infer", BODY)
            reply = connection.getresponse()
            reply.read()
            if reply.status != http.HTTPStatus.OK or reply.will_close:
                return f"{reply.status}, {'closed' if reply.will_close else 'stays'}"
            if not has_begun:
                begun.wait(LIMIT_S)
                has_begun = True
    except (http.client.RemoteDisconnected, ConnectionError):
        return "no answer"
    finally:
        connection.close()
    return "closed between calls"


def test_every_call_of_the_last_moment_is_answered(tmp_path: Path) -> None:
    """And the answer says that its connection ends: what came after it was broken off."""
    put_model(tmp_path / "models", "m")
    begun = threading.Barrier(CLIENTS + 1)
    with (
        serving(tmp_path / "home", "--model-repository", str(tmp_path / "models")) as server,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        clients = [pool.submit(last_word, server.ports[0], begun) for _ in range(CLIENTS)]
        begun.wait(LIMIT_S)
        server.process.terminate()
        ends = Counter(client.result(LIMIT_S) for client in clients)
    assert ends["503, closed"]
    assert ends.keys() <= {"503, closed", "closed between calls"}
