"""ONNX Runtime, imported so that it reports to nobody. The one place that imports it.

Builds from 1.29 on send events to their maker: a thread, connections and a database in the user's
home, in every process. None of that belongs into a process that answers calls, or forks others.
Whoever wants it sets the variable to 0.
"""

import os
from typing import Final

TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"
"""The engine's own name; it is read once, by the import."""

os.environ.setdefault(TELEMETRY, "1")  # noqa: TID251  no setting of ours

import onnxruntime  # noqa: E402  after the variable was set
from onnxruntime import InferenceSession as Session  # noqa: E402
from onnxruntime import OrtValue, RunOptions  # noqa: E402
from onnxruntime.capi import onnxruntime_pybind11_state as engine  # noqa: E402

__all__ = ["OrtValue", "RunOptions", "Session", "engine", "onnxruntime"]
