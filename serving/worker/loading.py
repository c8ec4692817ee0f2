"""temporary"""
import time
from dataclasses import dataclass
from pathlib import Path
from runtimes.catalogue import runtime_for
from runtimes.contract import LoadedModel, LoadRequest
from runtimes.devices import device
from serving.registry.version import ServedVersion, VersionSpec
from serving.worker.recorder import LOADER_SLOT, Note

@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedParts:
    model: LoadedModel
    served: ServedVersion

def load_parts(spec: VersionSpec, note: Note) -> LoadedParts:
    t = time.perf_counter()
    runtime = runtime_for(spec.format)
    model = runtime.load(LoadRequest(file=Path(spec.file), device=device(spec.policy.device), threads=spec.policy.threads or 1))
    rows = spec.policy.max_batch_rows
    if rows is None:
        rows = 64 if all(t.shape[:1] == (-1,) for t in (*model.inputs, *model.outputs)) else 0
    return LoadedParts(model=model, served=ServedVersion(platform=runtime.platform, backend=runtime.backend, inputs=model.inputs, outputs=model.outputs, max_batch_rows=rows, device="cpu", threads=1, load_s=time.perf_counter()-t, run_s=0))
