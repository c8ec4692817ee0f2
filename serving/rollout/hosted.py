"""What one worker shall host, and what was last heard of each version. Belongs to its host.

What cannot be loaded is tried again a few times: memory, a file system or a GPU may be short for a
moment. Whether it has failed meanwhile is decided by who reads `is_retried`.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from serving.ids import VersionKey
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.ports import HostedVersion
from serving.worker.control import UNLOADED, HostedLine


class Hosted:
    """The versions of one worker, through all lives of its process."""

    def __init__(self, load_tries: int) -> None:
        """Shall host nothing.

        Args:
            load_tries: So often in a row a version may fail to load before it is given up.
        """
        self._load_tries = load_tries
        self._failure_counts: dict[tuple[VersionKey, str], int] = {}
        """By version and digest: how often in a row it failed to load."""
        self.wanted: Mapping[VersionKey, VersionSpec] = MappingProxyType({})
        """What the worker shall host."""
        self.versions: dict[VersionKey, HostedVersion] = {}
        """What was last heard; of what was not heard of yet, that it is LOADING."""
        self.refusal = ""
        """Why the process cannot even be started; empty: it can."""

    def want(self, specs: Sequence[VersionSpec]) -> None:
        """Say what the worker shall host from now on."""
        before, self.wanted = self.wanted, {spec.key: spec for spec in specs}
        for key, spec in self.wanted.items():
            said = self.versions.get(key)
            is_ready = said is not None and said.state is VersionState.READY
            is_retried = key in before and self._is_retried(key, spec.digest)
            if not is_ready and not is_retried:
                self.versions[key] = self._not_loaded(spec)

    def begin(self, reason: str = "") -> bool:
        """Take note that nothing is loaded, and why; say whether that is news."""
        before = self.versions
        self._failure_counts.clear()
        self.versions = {key: self._not_loaded(spec, reason) for key, spec in self.wanted.items()}
        return self.versions != before

    def note(self, line: HostedLine) -> None:
        """Take what the worker says of one version.

        One that it has unloaded, and that is wanted again by now, is loaded with the next list.
        """
        key = VersionKey(line.model, line.version)
        spec = self.wanted.get(key)
        has_failed = line.state is VersionState.UNAVAILABLE
        if has_failed and spec is None:
            self.versions.pop(key, None)
        elif has_failed and spec is not None and line.reason == UNLOADED:
            self.versions[key] = self._not_loaded(spec)
        elif line.state is VersionState.LOADING and self._is_retried(key, line.digest):
            return  # what the try before said holds until this one ends
        else:
            failed = self._failure_counts.get((key, line.digest), 0) + 1
            self.versions[key] = HostedVersion(
                state=line.state,
                reason=line.reason,
                digest=line.digest,
                refused_digest=line.refused_digest,
                served=line.served,
                is_retried=has_failed and failed < self._load_tries,
            )

    def applied(self, asked: Collection[VersionKey]) -> None:
        """Take note that the worker hosts what it was asked to, as far as it could."""
        for key in [key for key in self.versions if key not in asked and key not in self.wanted]:
            del self.versions[key]
        self._failure_counts = {
            (key, said.digest): self._failure_counts.get((key, said.digest), 0) + 1
            for key, said in self.versions.items()
            if said.state is VersionState.UNAVAILABLE
        }

    @property
    def failure_count(self) -> int:
        """How often what is loaded once more has failed, the fewest; 0: nothing is."""
        counts = (
            self._failure_counts.get((key, said.digest), 0)
            for key, said in self.versions.items()
            if said.is_retried
        )
        return min(counts, default=0)

    @property
    def is_loading(self) -> bool:
        """Whether something is on its way, as far as was heard."""
        return any(
            said.state is VersionState.LOADING or said.is_retried for said in self.versions.values()
        )

    def _is_retried(self, key: VersionKey, digest: str) -> bool:
        said = self.versions.get(key)
        return said is not None and said.is_retried and said.digest == digest

    def _not_loaded(self, spec: VersionSpec, reason: str = "") -> HostedVersion:
        state = VersionState.UNAVAILABLE if self.refusal else VersionState.LOADING
        return HostedVersion(state=state, reason=self.refusal or reason, digest=spec.digest)
