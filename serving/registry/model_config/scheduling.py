"""How a model is run, apart from what it is: instances, engine threads, and how calls are joined.

These fields of a configuration may change without any answer or any caller's request changing.
"""

from dataclasses import dataclass

from google.protobuf import text_format

from runtimes.threads import threads_for
from serving.registry.model_config.parsing import parse_config, read_message
from serving.registry.model_config.queueing import US_PER_S
from serving.registry.version import ServingPolicy

THREADS = "intra_op_thread_count"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Joining:
    """Which waiting calls run together (`dynamic_batching`); the default never waits."""

    max_queue_delay_us: int = 0
    preferred_rows: tuple[int, ...] = ()


NATURAL = Joining()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Scheduling:
    """Workers of a model, engine threads of each, and how its calls are joined."""

    instances: int
    threads: int
    joining: Joining = NATURAL

    @property
    def cores(self) -> int:
        """CPUs that the engines occupy when all of them are busy."""
        return self.instances * self.threads


def scheduling_of(policy: ServingPolicy, cpus: int) -> Scheduling:
    """Return what a policy comes to on a node; threads that it leaves open are worked out.

    Args:
        policy: A model's.
        cpus: What the node's processes may use.
    """
    threads = policy.threads or threads_for(cpus, policy.replica_count)
    return Scheduling(
        instances=policy.replica_count,
        threads=1 if policy.deterministic else threads,
        joining=Joining(
            max_queue_delay_us=round(policy.queue.max_queue_delay_s * US_PER_S),
            preferred_rows=policy.queue.preferred_batch_rows,
        ),
    )


def with_scheduling(text: str, model: str, wanted: Scheduling) -> str:
    """Return a configuration that asks for a scheduling, and else says what it said.

    Args:
        text: The configuration; may be empty.
        model: The model's name.
        wanted: What it shall ask for.

    Raises:
        InvalidArgumentError: `parse_config` refuses the text, before or after.
        UnsupportedError: Likewise.
    """
    now = parse_config(text, model=model)
    message = read_message(now.text, f"configuration of {model}")
    if now.policy.replica_count != wanted.instances:
        del message.instance_group[1:]
        group = (
            message.instance_group[0] if message.instance_group else message.instance_group.add()
        )
        group.count = wanted.instances
    message.parameters[THREADS].string_value = str(wanted.threads)
    if wanted.joining != NATURAL or message.HasField("dynamic_batching"):
        batching = message.dynamic_batching
        batching.max_queue_delay_microseconds = wanted.joining.max_queue_delay_us
        del batching.preferred_batch_size[:]
        batching.preferred_batch_size.extend(wanted.joining.preferred_rows)
    # Proto3 text cannot tell an explicit 0 from silence, so it is written out.
    batch_line = "max_batch_size: 0\n" if now.policy.max_batch_rows == 0 else ""
    return parse_config(text_format.MessageToString(message) + batch_line, model=model).text


def scheduling_lines(text: str, model: str) -> str:
    """Return only the fields of a configuration that say how the model is run.

    Raises:
        InvalidArgumentError: `parse_config` refuses the text.
        UnsupportedError: Likewise.
    """
    message = read_message(parse_config(text, model=model).text, f"configuration of {model}")
    kept = type(message)()
    kept.instance_group.extend(message.instance_group)
    if message.HasField("dynamic_batching"):
        kept.dynamic_batching.CopyFrom(message.dynamic_batching)
    if THREADS in message.parameters:
        kept.parameters[THREADS].CopyFrom(message.parameters[THREADS])
    return text_format.MessageToString(kept)
