"""What one worker shall host, and what was last heard of each version. Belongs to its host."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from serving.ids import VersionKey
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.ports import HostedVersion
from serving.worker.control import UNLOADED, HostedLine


class Hosted:
    """The versions of one worker, through all lives of its process."""

    def __init__(self) -> None:
        """Shall host nothing."""
        self.wanted: Mapping[VersionKey, VersionSpec] = MappingProxyType({})
        """What the worker shall host."""
        self.versions: dict[VersionKey, HostedVersion] = {}
        """What was last heard; of what was not heard of yet, that it is LOADING."""
        self.refusal = ""
        """Why the process cannot even be started; empty: it can."""

    def want(self, specs: Sequence[VersionSpec]) -> None:
        """Say what the worker shall host from now on."""
        self.wanted = {spec.key: spec for spec in specs}
        for key, spec in self.wanted.items():
            said = self.versions.get(key)
            if said is None or said.state is not VersionState.READY:
                self.versions[key] = self._not_loaded(spec)

    def begin(self, reason: str = "") -> bool:
        """Take note that nothing is loaded, and why; say whether that is news."""
        before = self.versions
        self.versions = {key: self._not_loaded(spec, reason) for key, spec in self.wanted.items()}
        return self.versions != before

    def note(self, line: HostedLine) -> None:
        """Take what the worker says of one version.

        One that it has unloaded, and that is wanted again by now, is loaded with the next list.
        """
        key = VersionKey(line.model, line.version)
        spec = self.wanted.get(key)
        if line.state is VersionState.UNAVAILABLE and spec is None:
            self.versions.pop(key, None)
        elif line.state is VersionState.UNAVAILABLE and line.reason == UNLOADED and spec:
            self.versions[key] = self._not_loaded(spec)
        else:
            self.versions[key] = HostedVersion(
                state=line.state,
                reason=line.reason,
                digest=line.digest,
                refused_digest=line.refused_digest,
                served=line.served,
            )

    def applied(self, asked: Collection[VersionKey]) -> None:
        """Take note that the worker hosts what it was asked to, as far as it could."""
        for key in [key for key in self.versions if key not in asked and key not in self.wanted]:
            del self.versions[key]

    @property
    def is_loading(self) -> bool:
        """Whether something is on its way, as far as was heard."""
        return any(said.state is VersionState.LOADING for said in self.versions.values())

    def _not_loaded(self, spec: VersionSpec, reason: str = "") -> HostedVersion:
        state = VersionState.UNAVAILABLE if self.refusal else VersionState.LOADING
        return HostedVersion(state=state, reason=self.refusal or reason, digest=spec.digest)
