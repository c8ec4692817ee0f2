"""A registry with a candidate that is as good as the live version, or wrong on some rows."""

import json
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import numpy as np

from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.store import Registry
from tests.fakes import models

MARK = 1024.0
ROWS = np.zeros((50, 16), np.float32)
ROWS[41, 0] = MARK
RIGHT = (ROWS @ models.WEIGHT + models.BIAS).ravel().tolist()
_BODY = json.dumps(
    {
        "inputs": [
            {"name": "x", "shape": [50, 16], "datatype": "FP32", "data": ROWS.ravel().tolist()}
        ]
    }
)


def push_versions(home: Path, candidate: bytes) -> None:
    """Put `m` into a home's registry: version 1, which is live, and a candidate as version 2."""
    with Registry(home) as registry:
        for number, content in ((1, models.tiny()), (2, candidate)):
            source = home / f"source{number}" / "model.onnx"
            source.parent.mkdir()
            source.write_bytes(content)
            order = PackOrder(
                model_file=source, name="m", version=number, created_utc=datetime.now(UTC)
            )
            pack_bundle(order, home / f"bundle{number}")
            registry.push(home / f"bundle{number}", "ann")


def ask_rows(port: int) -> tuple[str, bool]:
    """Ask `m` for 50 rows, of which one is marked: the version that ran, and if it was right."""
    connection = HTTPConnection("127.0.0.1", port, timeout=90)
    try:
        connection.request("POST", "/v2/models/m/infer", _BODY)
        response = connection.getresponse()
        reply = json.loads(response.read())
        assert response.status == 200, reply
        return reply["model_version"], reply["outputs"][0]["data"] == RIGHT
    finally:
        connection.close()
