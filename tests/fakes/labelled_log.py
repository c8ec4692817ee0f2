"""A prediction log and its labels, written as a worker and an edge write them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.ids import VersionKey
from serving.predictions.ids import PredictionIds
from serving.predictions.labels.entries import Cell
from serving.predictions.labels.store import LabelStore
from serving.predictions.order import LogOrder
from serving.predictions.record import (
    BatchPlace,
    PhasesNs,
    PredictionHead,
    Source,
    encode_prediction,
    encode_source,
    keep_tensor,
)
from serving.registry.policies.label_policy import NOTHING_SAID, LabelPolicy
from serving.registry.policies.log_policy import LogPolicy
from serving.registry.version import ServedVersion, ServingPolicy, VersionSpec

START_NS = 1_780_000_000_000_000_000
SECOND_NS = 1_000_000_000
FIRST = VersionKey("m", 1)


class LabelledLog:
    """One model whose clock is in the test's hand."""

    def __init__(self, folder: Path, outputs: Sequence[TensorSpec]) -> None:
        """Log nothing yet; outputs have the batch dimension."""
        self.folder = folder
        self.now_ns = START_NS
        self._outputs = tuple(outputs)
        self._ids = PredictionIds(lambda: self.now_ns)
        self._count = 0
        order = LogOrder(folder=str(folder))
        self.store = LabelStore(order, "edge-1", lambda: self.now_ns)

    @property
    def now_s(self) -> float:
        """The clock, in seconds."""
        return self.now_ns / 1e9

    def name(self) -> str:
        """An id that a reply would give now."""
        return self._ids.make()

    def log(
        self,
        answers: Mapping[str, NDArray[np.generic]],
        *,
        key: VersionKey = FIRST,
        digest: str = "d",
        policy: LabelPolicy = NOTHING_SAID,
        prediction_id: str = "",
        route: str = "chosen",
    ) -> str:
        """Log one request whose outputs have these rows; returns its id."""
        self.folder.mkdir(exist_ok=True)
        self._count += 1
        self.now_ns += SECOND_NS
        named = prediction_id or self.name()
        rows = len(next(iter(answers.values())))
        specs = {spec.name: spec for spec in self._outputs}
        kept = [keep_tensor(specs[n], a, a.shape, "full") for n, a in answers.items()]
        head = PredictionHead(
            id=named,
            source=1,
            time_ns=self.now_ns,
            request_id="",
            batch=BatchPlace(1, rows, 1, 0, 0),
            rows=rows,
            inputs=(),
            outputs=tuple(each.head for each in kept),
            parameters=None,
            phases_ns=PhasesNs(0, 0, 0, 0),
            route=route,  # type: ignore[arg-type]  # a route's name
        )
        frames = encode_source(self._source(key, digest, policy))
        frames += encode_prediction(head, [each.raw for each in kept])
        path = self.folder / f"{self.now_ns // 1_000_000:013d}-w-1-{self._count}.seg"
        path.write_bytes(b"".join(map(bytes, frames)))
        return named

    def label(  # noqa: PLR0913  as many as a label has fields
        self,
        prediction_id: str,
        value: float | str,
        *,
        row: int = 0,
        output: str = "",
        source: str = "",
        time_ns: int = 0,
        model: str = "m",
    ) -> None:
        """Post one label, a second later."""
        self.now_ns += SECOND_NS
        self.store.add(model, None, [Cell(prediction_id, row, output, value, source, time_ns, 1.0)])

    def _source(self, key: VersionKey, digest: str, policy: LabelPolicy) -> Source:
        return Source(
            number=1,
            worker="w",
            pid=1,
            spec=VersionSpec(
                model=key.model,
                version=key.version,
                file="/m/1/model.onnx",
                format="onnx",
                size_bytes=1,
                digest=digest,
                origin="repository",
                policy=ServingPolicy(labelled=policy),
            ),
            served=ServedVersion(
                platform="",
                backend="",
                inputs=(),
                outputs=self._outputs,
                max_batch_rows=8,
                device="cpu",
                threads=1,
                load_s=0,
                run_s=0,
            ),
            environment=None,
            policy=LogPolicy(rate=1.0, inputs="none"),
        )


def scores_spec(columns: int, name: str = "p") -> TensorSpec:
    """An output with a score for each class."""
    return TensorSpec(name=name, datatype=Datatype.FP64, shape=(-1, columns))


def class_spec(name: str = "c") -> TensorSpec:
    """An output with a class."""
    return TensorSpec(name=name, datatype=Datatype.INT64, shape=(-1,))


def number_spec(name: str = "y") -> TensorSpec:
    """An output with a number."""
    return TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1))
