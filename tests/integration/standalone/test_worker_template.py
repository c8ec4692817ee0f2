"""Workers that the template forked are as good as started ones, and nobody depends on it."""

import asyncio
import json
import os
import re
import signal
import site
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import psutil
import pytest
from onnx import TensorProto, helper
from structlog.testing import capture_logs

from serving.clock import SystemClock
from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.local_http import LocalHttp
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.forked_child import fork
from serving.rollout.host import WorkerHost, WorkerLaunch
from serving.rollout.ports import WorkerState
from serving.rollout.template_keeper import keep_template, template_socket
from serving.rollout.worker_argv import worker_argv
from serving.settings import inherited_environment, load_settings
from serving.standalone.selection import file_version
from serving.supervise import Child, ChildSpec, child_environment
from tests.fakes.models import BIAS, IR_VERSION, OPSET, WEIGHT, tiny
from tests.fakes.waiting import while_others_work

pytestmark = pytest.mark.anyio

KEY = VersionKey("a", 1)
TEMPLATE = "serving.worker.template"
LIMIT_S = 120


class Node:
    """A home with a template, and workers in it."""

    def __init__(self, home: Path) -> None:
        """Nothing runs yet."""
        self.home = home
        self.settings = load_settings(home=home)
        self.template = template_socket(self.settings)
        self.news = asyncio.Event()
        # Of this moment: pytest changes a variable at each of its steps.
        self.env = child_environment(home, "test", CUDA_VISIBLE_DEVICES="")

    def child(self, worker: str) -> ChildSpec:
        """A worker as an instance starts it."""
        return ChildSpec(
            name=worker,
            argv=worker_argv(self.settings, self.address(worker), self.home / f"{worker}.rec"),
            env=self.env,
            log_file=self.home / f"{worker}.log",
        )

    def address(self, worker: str) -> WorkerAddress:
        """Where it listens."""
        return WorkerAddress(worker, "here", str(self.template.with_name(f"{worker}.sock")))

    @asynccontextmanager
    async def hosted(self, worker: str, *specs: VersionSpec) -> AsyncIterator[WorkerHost]:
        """A host whose worker has these versions, until the block ends."""
        launch = WorkerLaunch(
            address=self.address(worker),
            pool="s1",
            child=self.child(worker),
            recorder=self.home / f"{worker}.rec",
            template=self.template,
        )
        host = WorkerHost(launch, clock=SystemClock(), on_change=self.news.set)
        async with asyncio.TaskGroup() as group:
            group.create_task(host.run())
            host.set_versions(specs)
            yield host
            await host.stop(1.0)

    async def until(self, host: WorkerHost, is_so: Callable[[WorkerState], bool]) -> WorkerState:
        """Wait until a worker is observed in a state."""
        async with asyncio.timeout(LIMIT_S):
            while not is_so(host.observe()):
                await self.news.wait()
                self.news.clear()
        return host.observe()


@pytest.fixture(name="node")
async def node_with_template(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    """A node whose template is kept; its sockets' paths are short enough.

    It is waited for longer than an instance waits: how long its imports take decides nothing here.
    """
    monkeypatch.setattr("serving.rollout.forked_child.FORK_LIMIT_S", LIMIT_S)
    node = Node(tmp_path_factory.mktemp("h"))
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keep_template(node.settings, "test", SystemClock()))
        await until(node.template.exists)
        yield node
        keeping.cancel()


@pytest.fixture(name="spec")
def tiny_spec(tmp_path: Path) -> VersionSpec:
    """A small model as a version."""
    (tmp_path / "a.onnx").write_bytes(tiny())
    return file_version(tmp_path / "a.onnx", gpu=False)


async def until(is_so: Callable[[], object]) -> None:
    """Wait for something that nobody tells."""
    await while_others_work(is_so, "it", limit_s=LIMIT_S)


def is_ready(worker: WorkerState) -> bool:
    """Whether the first list was applied."""
    return worker.state == "ready"


def templates() -> list[psutil.Process]:
    """Those that this process keeps."""
    return [one for one in psutil.Process().children() if TEMPLATE in command_line(one)]


def command_line(process: psutil.Process) -> list[str]:
    """Empty for one that has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # a zombie is one, too
        return []


def is_forked(pid: int) -> bool:
    """Whether its parent is the template."""
    return psutil.Process(pid).parent() in templates()


async def test_a_forked_worker_serves(node: Node, spec: VersionSpec) -> None:
    """It loads and answers, and to `ps` it looks like one that was started."""
    async with node.hosted("s1-0", spec) as host:
        worker = await node.until(host, is_ready)
        assert is_forked(worker.pid)
        assert worker.versions[KEY].state is VersionState.READY
        command = psutil.Process(worker.pid).cmdline()
        assert " ".join(command).rstrip() == " ".join(node.child("s1-0").argv)
        assert os.getsid(worker.pid) == worker.pid
        async with LocalHttp(host.address.socket) as http:
            body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,16],"data":[%s]}]}'
            reply = await http.ask("POST", "/v2/models/a/infer", body % b",".join([b"1"] * 16))
        assert reply.status == 200
        (output,) = json.loads(reply.body)["outputs"]
        assert output["data"] == (WEIGHT.sum(axis=0) + BIAS).tolist()


async def test_a_forked_worker_inherits_no_descriptors(node: Node, spec: VersionSpec) -> None:
    """Neither the template's sockets nor those of other workers, nor a file."""
    async with node.hosted("s1-0", spec) as first, node.hosted("s1-1", spec) as second:
        others = (await node.until(first, is_ready)).pid, templates()[0].pid
        worker = await node.until(second, is_ready)
        theirs = {link for pid in others for link in open_links(pid)}
        assert not open_links(worker.pid) & theirs


def open_links(pid: int) -> set[str]:
    """Sockets, pipes and files that a process has open; anonymous inodes have one name for all."""
    fds = Path(f"/proc/{pid}/fd")
    links = {str(fd.readlink()) for fd in fds.iterdir() if fd.exists() or fd.is_symlink()}
    return {link for link in links if not link.startswith(("anon_inode", "/dev/"))}


async def test_a_killed_worker_comes_back_from_the_template(node: Node, spec: VersionSpec) -> None:
    """Its end is told as that of a started one."""
    async with node.hosted("s1-0", spec) as host:
        first = await node.until(host, is_ready)
        os.kill(first.pid, signal.SIGKILL)
        worker = await node.until(host, lambda it: is_ready(it) and it.pid != first.pid)
        assert is_forked(worker.pid)
        assert worker.last_exit == "killed by signal 9"


async def test_a_killed_template_is_missed_by_nobody(node: Node, spec: VersionSpec) -> None:
    """Workers stay, others can be started at any time, and soon they are forked again."""
    async with node.hosted("s1-0", spec) as host:
        worker = await node.until(host, is_ready)
        (template,) = templates()
        template.kill()
        await until(lambda: template not in templates())
        async with node.hosted("s1-1", spec) as second:
            await node.until(second, is_ready)
        assert host.observe().pid == worker.pid
        os.kill(worker.pid, signal.SIGKILL)
        again = await node.until(host, lambda it: is_ready(it) and it.pid != worker.pid)
        assert again.last_exit == "ended, status unknown"
        await until(templates)
        async with node.hosted("s1-2", spec) as third:
            assert is_forked((await node.until(third, is_ready)).pid)


async def test_a_template_that_hangs_is_replaced(
    node: Node, spec: VersionSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker waited for it in vain; the next ones do not, and soon they are forked again."""
    (template,) = templates()
    async with node.hosted("s1-0", spec) as host:
        await node.until(host, is_ready)
        template.suspend()
        monkeypatch.setattr("serving.rollout.forked_child.FORK_LIMIT_S", 0.1)
        assert await fork(node.template, node.child("s1-1")) is None
        assert not node.template.exists()
        monkeypatch.setattr("serving.rollout.forked_child.FORK_LIMIT_S", LIMIT_S)
        await until(lambda: template not in templates() and node.template.exists())
    async with node.hosted("s1-2", spec) as third:
        assert is_forked((await node.until(third, is_ready)).pid)


async def test_after_packages_changed_another_template_is_made(
    node: Node, spec: VersionSpec
) -> None:
    """A worker never computes with what was installed before, and says so of what is now."""
    (template,) = templates()
    async with node.hosted("s1-0", spec) as host:
        await node.until(host, is_ready)
    folder = Path(site.getsitepackages()[0])
    os.utime(folder)
    with capture_logs() as logs:
        assert await fork(node.template, node.child("s1-1")) is None
    (told,) = [event["reason"] for event in logs if event["event"] == "worker_not_forked"]
    # It hangs up if it has seen by itself what changed: when it told of the worker's end before.
    assert re.match("packages were installed or removed since|Connection(Reset|Refused)Error", told)
    await until(lambda: template not in templates() and templates())
    async with node.hosted("s1-2", spec) as third:
        assert is_forked((await node.until(third, is_ready)).pid)


async def test_without_a_template_workers_are_started(node: Node) -> None:
    """Nobody listens there, or it hangs up."""
    assert await fork(None, node.child("s1-0")) is None
    assert await fork(node.home / "nothing", node.child("s1-0")) is None


async def test_what_is_no_copy_of_the_template_is_not_forked(node: Node) -> None:
    """Another interpreter, or another environment, such as one with GPUs, has to be started."""
    spec = node.child("s1-0")
    isolated = replace(spec, argv=("/elsewhere/bin/python", *spec.argv[1:]))
    assert await fork(node.template, isolated) is None
    given = {**node.env, "CUDA_VISIBLE_DEVICES": "0"}
    with capture_logs() as logs:
        assert await fork(node.template, replace(spec, env=given)) is None
    assert [event["reason"] for event in logs] == ["another environment: CUDA_VISIBLE_DEVICES"]


async def test_a_variable_that_is_no_utf_8_keeps_no_worker_from_starting(
    node: Node, spec: VersionSpec
) -> None:
    """No order can be written that has it: the worker is started, and nothing stays open."""
    node.env = {**node.env, "SOMEBODYS": os.fsdecode(b"caf\xe9")}
    before = psutil.Process().num_fds()
    with capture_logs() as logs:
        assert await fork(node.template, node.child("s1-0")) is None
    assert [event["event"] for event in logs] == ["worker_not_forked"]
    assert psutil.Process().num_fds() == before
    async with node.hosted("s1-0", spec) as host:
        worker = await node.until(host, is_ready)
        assert not is_forked(worker.pid)
        assert psutil.Process(worker.pid).environ()["SOMEBODYS"] == node.env["SOMEBODYS"]


async def test_a_crash_is_told_as_before(node: Node) -> None:
    """The exit status reaches the supervisor, and the reason stands in the worker's own log."""
    spec = node.child("s1-0")
    child = await fork(node.template, replace(spec, argv=(*spec.argv, "--no-such-option")))
    assert child is not None
    assert (await child.wait()).text == "exit status 2"
    assert "--no-such-option" in spec.log_file.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may surely end a niceness again")
async def test_a_forked_worker_stands_back_as_told(node: Node) -> None:
    """From its first instruction on, and no other one with it."""
    eager = await fork(node.template, node.child("s1-0"))
    patient = await fork(node.template, replace(node.child("s1-1"), niceness=7))
    assert eager is not None
    assert patient is not None
    await until(lambda: os.getpriority(os.PRIO_PROCESS, patient.pid) == 7)
    assert os.getpriority(os.PRIO_PROCESS, eager.pid) == 0
    await eager.stop(5)
    await patient.stop(5)


async def test_forked_workers_draw_numbers_of_their_own(node: Node, tmp_path: Path) -> None:
    """A model that draws does not answer alike in each worker."""
    made = helper.make_node("RandomUniformLike", ["x"], ["y"])
    value = helper.make_tensor_value_info
    x, y = (value(name, TensorProto.FLOAT, ["N", 4]) for name in "xy")
    model = helper.make_model(
        helper.make_graph([made], "random", [x], [y]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.save(model, tmp_path / "a.onnx")
    spec = file_version(tmp_path / "a.onnx", gpu=False)
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[0,0,0,0]}]}'
    answers = set()
    async with node.hosted("s1-0", spec) as first, node.hosted("s1-1", spec) as second:
        for host in (first, second):
            assert is_forked((await node.until(host, is_ready)).pid)
            async with LocalHttp(host.address.socket) as http:
                answers.add((await http.ask("POST", "/v2/models/a/infer", body)).body)
    assert len(answers) == 2


async def test_everything_dies_with_the_supervisor(tmp_path: Path) -> None:
    """When it is killed, so are the template and the worker, by the kernel: even one that hangs."""
    words = (sys.executable, __file__, str(tmp_path))
    env = inherited_environment() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    supervisor = subprocess.Popen(  # noqa: ASYNC220  to be killed
        words, stdout=subprocess.PIPE, env=env
    )
    assert supervisor.stdout is not None
    pid = int(await asyncio.to_thread(supervisor.stdout.readline))
    worker = Child.adopt("worker", pid)
    template = Child.adopt("template", psutil.Process(pid).ppid())
    assert worker is not None
    assert template is not None
    worker.send_signal(signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    async with asyncio.timeout(LIMIT_S):
        await worker.wait()
        await template.wait()


async def _supervise(home: Path) -> None:
    """Be a supervisor with a template and a worker, and say the worker's id."""
    node = Node(home)
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_template(node.settings, "test", SystemClock()))
        await until(node.template.exists)
        child = await fork(node.template, node.child("s1-0"))
        assert child is not None
        await until(Path(node.address("s1-0").control).exists)
        print(child.pid, flush=True)  # noqa: T201  told to the test
        await child.wait()


if __name__ == "__main__":
    asyncio.run(_supervise(Path(sys.argv[1])))
