"""ONNX models by ONNX Runtime, on the CPU or a CUDA device.

A model that asks for CUDA gets CUDA or is refused: ONNX Runtime lists the CUDA provider as
available on machines without a GPU and then falls back in silence, so what counts is what the
session itself reports. One that left the device open goes to the CPU where CUDA has no kernel for
any of it, and says so.

Longer than most files: a session and what must be asked of it are one thing.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from runtimes.contract import LoadedModel, LoadRequest, TensorSpec
from runtimes.cuda_libraries import PROVIDER_LIBRARY, explain_missing, missing_for_provider
from runtimes.datatypes import Datatype
from runtimes.devices import CPU, Device
from runtimes.engine_options import DEFAULT_OPTIONS, EngineOptions, GraphLevel
from runtimes.errors import ModelLoadError
from runtimes.onnx_engine import engine, onnxruntime
from runtimes.onnx_graph import QUIET
from runtimes.onnx_placement import AssignedNode, Permission, Placement, placement_of
from runtimes.onnx_refusals import explain_load_failure, finding_of
from runtimes.onnx_runs import BoundModel, OrtValueModel, PlainModel
from runtimes.reshape import Reshape, reshaped

CPU_PROVIDER: Final = "CPUExecutionProvider"
CUDA_PROVIDER: Final = "CUDAExecutionProvider"
TELLS_PLACEMENT: Final = "get_provider_graph_assignment_info"
"""Older engines have no such method."""
LOOP: Final = "Loop"
"""Its number of turns may be computed from values; that of `Scan` follows from shapes."""
GRAPH_LEVELS: Final[MappingProxyType[GraphLevel, Any]] = MappingProxyType(
    {
        "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }
)

TYPES: Final[MappingProxyType[str, Datatype]] = MappingProxyType(
    {
        "tensor(bool)": Datatype.BOOL,
        "tensor(uint8)": Datatype.UINT8,
        "tensor(uint16)": Datatype.UINT16,
        "tensor(uint32)": Datatype.UINT32,
        "tensor(uint64)": Datatype.UINT64,
        "tensor(int8)": Datatype.INT8,
        "tensor(int16)": Datatype.INT16,
        "tensor(int32)": Datatype.INT32,
        "tensor(int64)": Datatype.INT64,
        "tensor(float16)": Datatype.FP16,
        "tensor(bfloat16)": Datatype.BF16,
        "tensor(float)": Datatype.FP32,
        "tensor(double)": Datatype.FP64,
        "tensor(string)": Datatype.BYTES,
    }
)


class OnnxRuntime:
    """Loads `.onnx` files."""

    platform = "onnxruntime_onnx"
    backend = "onnxruntime"

    def load(self, request: LoadRequest) -> LoadedModel:
        """Load a model; external data is looked for beside it.

        Of the model's outputs those are computed that the configuration declares, and of its
        optional inputs those are shown; all of them where it declares none.

        Raises:
            ModelLoadError: The file or the device cannot be used; the message says why.
        """
        session, device, placement = _opened(request)
        inputs = [_spec("input", node, request.file) for node in session.get_inputs()]
        wanted = {spec.name for spec in request.declared_inputs}
        inputs += [
            _spec("input", node, request.file, optional=True)
            for node in session.get_overridable_initializers()
            if not wanted or node.name in wanted
        ]
        names = {spec.name for spec in request.declared_outputs}
        nodes = session.get_outputs()
        kept = [node for node in nodes if node.name in names] or nodes
        outputs = [_spec("output", node, request.file) for node in kept]
        graphs = request.options.cuda_graphs
        model = _model(session, tuple(inputs), tuple(outputs), device, graphs=graphs)
        model.device, model.notes = device, placement.notes
        model.findings = placement.findings
        model.has_loops = any(node.operator == LOOP for node in assigned_nodes(session) or ())
        return reshaped(model, _listed_scalars(inputs, request), ())


def open_session(request: LoadRequest) -> onnxruntime.InferenceSession:
    """Create the engine's session on exactly the device that was asked for.

    Raises:
        ModelLoadError: The engine refuses the file, or did not get the device.
    """
    if not request.file.is_file():
        raise ModelLoadError(f"model file '{request.file.name}' does not exist or cannot be read")
    if request.device.kind == "cuda":
        preload_libraries()
    is_strict = refuses_cpu_nodes(request, onnxruntime.InferenceSession)
    providers = providers_for(request)
    try:
        session = onnxruntime.InferenceSession(
            request.file,
            session_options(
                1 if request.deterministic else request.threads,
                is_deterministic=request.deterministic,
                is_strict=is_strict,
                asked=request.options,
            ),
            # An engine that refuses nodes on the CPU refuses the CPU's name in the list, too.
            providers=providers[:1] if is_strict else providers,
            enable_fallback=0,  # else a failure prints to stdout and is tried again on the CPU
        )
    except LOAD_FAILURES as error:
        raise ModelLoadError(
            explain_load_failure(str(error), request.file.name, onnxruntime.__version__),
            finding=finding_of(str(error)),
        ) from error
    session.disable_fallback()
    problem = provider_problem(request.device, session.get_providers())
    if problem is not None:
        raise ModelLoadError(f"{problem}: {missing_cuda_part()}")
    return session


def preload_libraries() -> None:
    """Let the engine load CUDA's libraries that came as packages; one before 1.21 cannot."""
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it cannot find
            preload(msvc=False)


def refuses_cpu_nodes(request: LoadRequest, session: type) -> bool:
    """Whether the engine itself must refuse nodes on the CPU, since it cannot tell of them."""
    return (
        request.device.kind == "cuda"
        and not (request.allow_cpu_nodes or request.may_use_cpu)
        and not hasattr(session, TELLS_PLACEMENT)
    )


def session_options(
    threads: int,
    *,
    is_deterministic: bool = False,
    is_strict: bool = False,
    asked: EngineOptions = DEFAULT_OPTIONS,
) -> onnxruntime.SessionOptions:
    """Return a session's options: `threads` in an operator, one operator at a time by default.

    Args:
        threads: Of the engine.
        is_deterministic: Only algorithms that give the same bits in every run.
        is_strict: Refuse a model of which anything would run on the CPU, shapes included.
        asked: What the version's configuration says.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    modes = onnxruntime.ExecutionMode
    runs_parallel = asked.runs_parallel and not is_deterministic
    options.execution_mode = modes.ORT_PARALLEL if runs_parallel else modes.ORT_SEQUENTIAL
    options.inter_op_num_threads = asked.inter_op_threads if runs_parallel else 1
    options.graph_optimization_level = GRAPH_LEVELS[asked.graph_level]
    options.enable_cpu_mem_arena = asked.uses_arena
    options.log_severity_level = QUIET
    # A pattern is planned for each shape and kept: batches and lengths vary, and memory grew
    # by a fifth over real models while no run became measurably faster.
    options.enable_mem_pattern = asked.plans_memory and not runs_parallel
    # Threads that spin between operators steal the CPUs of the event loops and other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if is_strict:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.use_deterministic_compute = is_deterministic
    return options


def providers_for(request: LoadRequest) -> list[Any]:
    """Return the execution providers to ask for, in order.

    The CPU stands behind CUDA even where no node may run there: without it the engine refuses every
    model that reckons with shapes, which is done on the CPU (`runtimes.onnx_placement`).
    """
    if request.device.kind == "cpu":
        return [CPU_PROVIDER]
    options = {
        "device_id": str(request.device.index),
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0" if request.precision == "fp32" else "1",  # the engine's default is yes
    }
    if request.gpu_arena_bytes:
        options["gpu_mem_limit"] = str(request.gpu_arena_bytes)
    if request.options.cuda_graphs:
        options["enable_cuda_graph"] = "1"
    if request.deterministic:  # a search takes whatever was fastest this time
        options["cudnn_conv_algo_search"] = "DEFAULT"
    return [(CUDA_PROVIDER, options), CPU_PROVIDER]


def provider_problem(device: Device, got: Sequence[str]) -> str | None:
    """Return what is wrong with the providers that a session got, or None."""
    wanted = CUDA_PROVIDER if device.kind == "cuda" else CPU_PROVIDER
    if got and got[0] == wanted:
        return None
    return (
        f"the model asks for {device}, and ONNX Runtime {onnxruntime.__version__} would run it "
        f"with {', '.join(got)}"
    )


def assigned_nodes(session: onnxruntime.InferenceSession) -> list[AssignedNode] | None:
    """Return the nodes of a session's graph, after optimization, with the providers that run them.

    The session must have been made with `session_options`. None: the engine is too old to tell.
    """
    if not hasattr(session, TELLS_PLACEMENT):
        return None
    return [
        AssignedNode(provider=part.ep_name, name=node.name, operator=node.op_type)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def missing_cuda_part() -> str:
    """Ask the dynamic loader which library the CUDA provider lacks, and say what to do."""
    folder = Path(engine.__file__).parent
    has_provider = (folder / PROVIDER_LIBRARY).exists()
    return explain_missing(missing_for_provider(folder) if has_provider else PROVIDER_LIBRARY)


def _listed_scalars(inputs: Sequence[TensorSpec], request: LoadRequest) -> list[Reshape]:
    """Return the scalar inputs that a configuration lists as `dims: [ 1 ]`, since it cannot say [].

    The engine would take a vector of 1 for a scalar, and some operators would then give another
    rank. A rank that the model does not state reads as rank 0, too, and there a vector is meant.
    """
    listed = {spec.name for spec in request.declared_inputs if spec.shape == (1,)}
    asked = [spec.name for spec in inputs if spec.name in listed and not spec.shape]
    if not asked:
        return []
    from runtimes.onnx_static import scalar_inputs  # noqa: PLC0415  imports onnx

    scalars = scalar_inputs(request.file)
    return [Reshape(name=name, dims=(1,), shape=()) for name in asked if name in scalars]


def _spec(
    role: str, node: onnxruntime.NodeArg, file: Path, *, optional: bool = False
) -> TensorSpec:
    """Read one tensor's spec.

    An unknown rank reads as rank 0, since the engine does not tell them apart and accepts any
    shape for both.
    """
    datatype = TYPES.get(node.type)
    if datatype is None:
        raise ModelLoadError(
            f"'{file.name}' cannot be served: {role} '{node.name}' is {node.type}, and only plain "
            f"tensors of {', '.join(Datatype)} travel over the protocol; "
            + (
                "leave it out of the configuration's outputs, or export the model without it (of "
                "scikit-learn: options={'zipmap': False} of to_onnx)"
                if role == "output"
                else "export the model with a tensor in its place"
            )
        )
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in node.shape)
    return TensorSpec(name=node.name, datatype=datatype, shape=shape, optional=optional)


def _opened(request: LoadRequest) -> tuple[onnxruntime.InferenceSession, Device, Placement]:
    """Open a session where it may run: on its device, or on the CPU if that was left open."""
    session = open_session(request)
    if request.device.kind == "cpu":
        return session, CPU, Placement()
    permission = Permission(nodes=request.allow_cpu_nodes, whole_model=request.may_use_cpu)
    engine_text = f"ONNX Runtime {onnxruntime.__version__}"
    placement = placement_of(assigned_nodes(session), CUDA_PROVIDER, permission, engine_text)
    if not placement.goes_to_cpu:
        return session, request.device, placement
    return open_session(replace(request, device=CPU)), CPU, placement


def _model(
    session: onnxruntime.InferenceSession,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    device: Device,
    *,
    graphs: bool,
) -> PlainModel | OrtValueModel | BoundModel:
    datatypes = {spec.datatype for spec in (*inputs, *outputs)}
    if {Datatype.BYTES, Datatype.BF16} <= datatypes:
        raise ModelLoadError(
            "the model has both BYTES and BF16 tensors, which ONNX Runtime's Python API cannot "
            "carry together: export its BF16 inputs and outputs as FP32"
        )
    if device.kind == "cuda" and Datatype.BYTES not in datatypes:
        return BoundModel(session, inputs, outputs, device, graphs=graphs)
    if Datatype.BF16 in datatypes:
        return OrtValueModel(session, inputs, outputs)
    return PlainModel(session, inputs, outputs, graphs=graphs)


LOAD_FAILURES: Final = (
    engine.Fail,
    engine.InvalidArgument,
    engine.NoSuchFile,
    engine.NoModel,
    engine.InvalidProtobuf,
    engine.InvalidGraph,
    engine.NotImplemented,
    engine.RuntimeException,
    engine.EngineError,
    engine.EPFail,
    RuntimeError,
    ValueError,
    MemoryError,
)
