"""What this process computes with: measured once, when it loads its first version.

A worker may run in an environment of its own and see some of a node's GPUs only, so nobody else can
tell what its results depend on. The controller gets it by the control channel.
"""

from dataclasses import replace

from runtimes.devices import Device
from runtimes.devices import device as device_of
from runtimes.facts import GpuFacts, NodeFacts
from runtimes.gpu_probe import NOT_FOUND, Nvml, NvmlRefusalError, SystemNvml
from runtimes.node_probe import probe
from serving.registry.environment import environment_of, fingerprint


class NoNvml:
    """For a process that sees no GPU: the driver's library need not be loaded."""

    def ask(self, function: str, *arguments: object) -> None:
        """Refuse every question; see `runtimes.gpu_probe.Nvml`."""
        del function, arguments
        raise NvmlRefusalError(NOT_FOUND, "this process was given no GPU")


class OwnEnvironment:
    """This process's environment. For one thread at a time: the loader's."""

    def __init__(self, gpus: str | None, nvml: Nvml | None = None) -> None:
        """Measure nothing yet.

        Args:
            gpus: What it was given, as CUDA_VISIBLE_DEVICES lists them; None: all there are.
            nvml: Where GPUs are asked for; the driver's, unless a test brings another.
        """
        self._gpus = gpus
        self._nvml = nvml or (NoNvml() if gpus == "" else SystemNvml())
        self._facts: NodeFacts | None = None
        self._prints: dict[tuple[str, int, Device], str] = {}

    @property
    def known(self) -> NodeFacts | None:
        """What was measured; None before the first version is loaded."""
        return self._facts

    def fingerprint(self, format_name: str, threads: int, device: Device) -> str:
        """Return the fingerprint of a run here; measures the environment at the first call."""
        asked = (format_name, threads, device)
        if asked not in self._prints:
            facts = self._measured()
            run = environment_of(facts, format_name=format_name, threads=threads, device=device)
            self._prints[asked] = fingerprint(run, format_name)
        return self._prints[asked]

    def _measured(self) -> NodeFacts:
        if self._facts is None:
            facts = probe(nvml=self._nvml)
            seen = facts.gpus if self._gpus is None else given_gpus(facts.gpus, self._gpus)
            # A plain dictionary: they travel as JSON.
            self._facts = replace(facts, gpus=seen, packages=dict(facts.packages), labels={})
        return self._facts


def gpu_uuid(facts: NodeFacts | None, where: str) -> str:
    """Return the UUID of the GPU that a version runs on.

    Args:
        facts: Of this process; None: not measured yet.
        where: The version's device, `cpu` or `cuda:N`.

    Returns:
        Empty for the CPU, and where the driver shows no such GPU.
    """
    if facts is None or not where.startswith("cuda"):
        return ""
    index = device_of(where).index
    return facts.gpus[index].uuid if index < len(facts.gpus) else ""


def given_gpus(gpus: tuple[GpuFacts, ...], given: str) -> tuple[GpuFacts, ...]:
    """Return the GPUs that a process was given, numbered as it counts them.

    Args:
        gpus: All GPUs of the node.
        given: Their numbers, or beginnings of their UUIDs, as CUDA_VISIBLE_DEVICES lists them.
    """
    names = [name.strip() for name in given.split(",") if name.strip()]
    found = [next((gpu for gpu in gpus if _is_meant(gpu, name)), None) for name in names]
    return tuple(replace(gpu, index=index) for index, gpu in enumerate(found) if gpu is not None)


def _is_meant(gpu: GpuFacts, name: str) -> bool:
    return gpu.index == int(name) if name.isdecimal() else gpu.uuid.startswith(name)
