"""Loads the model of a bundle as a worker would: with its configuration, on a device of ours."""

from dataclasses import dataclass
from pathlib import Path

from runtimes.catalogue import runtime_for
from runtimes.contract import LoadedModel, LoadRequest
from runtimes.devices import CPU, Device
from runtimes.signature import Configured, as_configured, declared_inputs, declared_outputs
from runtimes.threads import available_cpus, threads_for
from serving.registry.bundles.manifest import Manifest
from serving.registry.model_config.parsing import parse_config
from serving.registry.version import ServingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleModel:
    """A bundle's model, and how its configuration wants it to be loaded."""

    folder: Path
    manifest: Manifest
    policy: ServingPolicy

    @property
    def configured(self) -> Configured:
        """What the configuration says of the model's tensors."""
        return self.policy.configured

    @property
    def threads(self) -> int:
        """Engine threads that a worker on this node would use."""
        if self.manifest.requirements.deterministic:
            return 1
        return self.policy.threads or threads_for(available_cpus(), self.policy.replica_count)

    def load(self, threads: int, where: Device = CPU, *, may_execute: bool = False) -> LoadedModel:
        """Load it; the caller closes it.

        Args:
            threads: Engine threads.
            where: The device.
            may_execute: Loading may run code that the file carries: its author is trusted.

        Raises:
            ModelLoadError: It does not load, or its configuration contradicts it.
            UnsupportedError: Its engine is not installed.
        """
        request = LoadRequest(
            file=self.folder / self.manifest.model_file,
            device=where,
            threads=threads,
            declared_inputs=declared_inputs(self.configured),
            declared_outputs=declared_outputs(self.configured),
            deterministic=self.manifest.requirements.deterministic,
            may_execute=may_execute,
            options=self.policy.options,
        )
        loaded = runtime_for(self.manifest.format).load(request)
        return as_configured(loaded, self.configured)


def model_of(folder: Path, manifest: Manifest) -> BundleModel:
    """Read a bundle's configuration.

    Raises:
        InvalidArgumentError: The configuration is wrong.
    """
    policy = parse_config(manifest.config, model=manifest.name).policy
    return BundleModel(folder=folder, manifest=manifest, policy=policy)
