"""What is known of the nodes and of hardware profiles: where the gate looks before placement."""

from collections.abc import Mapping, Sequence

from runtimes.facts import NodeFacts
from runtimes.profile import HardwareProfile


class KnownNodes:
    """Facts of living nodes, by node; told by whoever hears of them."""

    def __init__(self, profiles: Mapping[str, HardwareProfile]) -> None:
        """Know no node yet.

        Args:
            profiles: Every hardware profile that is defined, by name.
        """
        self._profiles = profiles
        self._by_node: dict[str, NodeFacts] = {}
        self._facts: Sequence[NodeFacts] = ()

    def facts(self) -> Sequence[NodeFacts]:
        """Return what is known of the living nodes; the same object until that changes."""
        return self._facts

    def profiles(self) -> Mapping[str, HardwareProfile]:
        """Return every hardware profile that is defined, by name."""
        return self._profiles

    def hear(self, facts: Mapping[str, NodeFacts]) -> bool:
        """Take in what is known of all living nodes now; say whether that is news."""
        if facts == self._by_node:
            return False
        self._by_node = dict(facts)
        self._facts = tuple(facts[node] for node in sorted(facts))
        return True
