"""HAProxy's runtime API as a model: it obeys commands and refuses what HAProxy would refuse."""

from collections.abc import Callable
from dataclasses import dataclass, field

from serving.edge.haproxy_commands import Batch, HaproxyState, Server


@dataclass(slots=True)
class HaproxyModel:
    """Servers, those that take calls, and maps, changed by text."""

    servers: dict[str, str] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    """Servers that get new calls."""
    maps: dict[str, dict[str, str]] = field(
        default_factory=lambda: {"versions.map": {}, "live.map": {}}
    )

    @classmethod
    def holding(cls, state: HaproxyState) -> "HaproxyModel":
        """One that was brought to a state before."""
        servers = {str(server): address for server, address in state.servers.items()}
        maps = {"versions.map": dict(state.versions), "live.map": dict(state.live)}
        return cls(servers=servers, open=set(servers), maps=maps)

    def obey(self, batch: Batch, watch: Callable[[], None] = lambda: None) -> None:
        """Run a batch; `watch` is called after each command."""
        replies: list[str] = []
        if "<<" in batch.text:
            self._add_lines(batch.text)
            watch()
        else:
            for command in batch.text.split(";"):
                replies += self._run(command.split(" "))
                watch()
        assert tuple(replies) == batch.replies

    def state(self) -> HaproxyState:
        """What takes calls now, as a state."""
        return HaproxyState(
            servers={Server(*name.split("/")): self.servers[name] for name in self.open},
            versions=dict(self.maps["versions.map"]),
            live=dict(self.maps["live.map"]),
        )

    def open_in(self, slot: str) -> set[str]:
        """Servers of a slot that take calls."""
        return {name.split("/")[1] for name in self.open if name.startswith(f"{slot}/")}

    def _run(self, words: list[str]) -> list[str]:
        match words:
            case ["add", "server", name, address, *_]:
                assert name not in self.servers, f"{name} exists"
                self.servers[name] = address
                return ["New server registered."]
            case ["enable", "server", name]:
                assert name in self.servers
                self.open.add(name)
            case ["set", "server", name, "state", state]:
                assert name in self.servers
                (self.open.add if state == "ready" else self.open.discard)(name)
            case ["set", "server", name, "health", "down"] | ["enable", "health", name]:
                assert name in self.servers
            case ["set", "map", file, key, value]:
                assert key in self.maps[file], f"{key} is not there"
                self.maps[file][key] = value
            case ["del", "map", file, key]:
                del self.maps[file][key]
            case _:
                raise AssertionError(f"unknown command {words}")
        return []

    def _add_lines(self, text: str) -> None:
        head, *lines = text.split("\n")
        file = head.split(" ")[2]
        for line in filter(None, lines):
            key, value = line.split(" ")
            assert key not in self.maps[file], f"{key} exists"
            self.maps[file][key] = value
