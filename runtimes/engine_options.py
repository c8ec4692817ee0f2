"""How an engine shall run one model: what a configuration may set beyond device and threads."""

from dataclasses import dataclass
from typing import Final, Literal

GraphLevel = Literal["all", "extended", "basic", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Options of ONNX Runtime; of these, other engines have the last one only."""

    graph_level: GraphLevel = "all"
    """Which graph optimizations take place."""
    runs_parallel: bool = False
    """Operators that do not need each other run at the same time."""
    inter_op_threads: int = 1
    """Threads for that; 0: as many as the engine likes."""
    uses_arena: bool = True
    """Memory on the CPU is kept for the next run."""
    plans_memory: bool = False
    """Memory is planned for each shape that comes; costs memory where shapes vary."""
    cuda_graphs: bool = False
    """On CUDA: runs of shapes that come again are captured and replayed as graphs."""


DEFAULT_OPTIONS: Final = EngineOptions()
"""What is best for most models."""
