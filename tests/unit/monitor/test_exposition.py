"""Prometheus text."""

import re
from dataclasses import replace

from serving.monitor import catalogue, exposition
from serving.monitor.exposition import Sample
from serving.monitor.metric_spec import MetricSpec
from serving.monitor.statistics import DurationSum, FailureReason, VersionStatistics
from serving.monitor.traffic_recorder import TrafficRecorder

SPECS = [value for value in vars(catalogue).values() if isinstance(value, MetricSpec)]
STATISTICS = VersionStatistics(
    model='m "1"\\\n',
    version=2,
    success=DurationSum(count=3, ns=5_999),
    failures=dict.fromkeys(FailureReason, 0),
)


def test_samples_of_one_metric_stand_together_under_its_head() -> None:
    """As the format demands, whatever the order they come in."""
    one = MetricSpec(name="one", kind="gauge", help="One.", labels=("a",))
    two = MetricSpec(name="two", kind="counter", help="Two.")
    samples = [Sample(one, 1, ("x",)), Sample(two, 2.5), Sample(one, 3, ("y",))]
    assert exposition.render(samples).decode().splitlines() == [
        "# HELP one One.",
        "# TYPE one gauge",
        'one{a="x"} 1',
        'one{a="y"} 3',
        "# HELP two Two.",
        "# TYPE two counter",
        "two 2.5",
    ]


def test_label_values_are_escaped() -> None:
    """Quotes, backslashes and line ends of a model's name stay inside the label."""
    text = exposition.render(exposition.version_samples([STATISTICS], {})).decode()
    assert 'nv_inference_count{model="m \\"1\\"\\\\\\n",version="2"} 0' in text.splitlines()


def test_durations_are_whole_microseconds() -> None:
    """Rounded down."""
    text = exposition.render(exposition.version_samples([STATISTICS], {})).decode()
    assert 'nv_inference_request_duration_us{model="m \\"1\\"\\\\\\n",version="2"} 5\n' in text


def test_every_reason_of_failure_is_there_from_the_start() -> None:
    """With 0, so that a rate can be taken of the first failure."""
    text = exposition.render(exposition.version_samples([STATISTICS], {})).decode()
    reasons = re.findall(r'reason="(\w+)"', text)
    assert sorted(reasons) == ["BACKEND", "CANCELED", "OTHER", "REJECTED"]


def test_a_metric_is_defined_once() -> None:
    """Names are unique, and every metric has a help text and a kind."""
    assert len({spec.name for spec in SPECS}) == len(SPECS)
    assert all(spec.help and spec.kind in ("counter", "gauge", "histogram") for spec in SPECS)


def test_what_runs_on_a_gpu_says_on_which() -> None:
    """Its series have one label more, at the end; how long it took to load has not."""
    there = replace(STATISTICS, model="m", gpu_uuid="GPU-1")
    samples = exposition.version_samples([replace(STATISTICS, model="m"), there], {("m", 2): 0.5})
    lines = exposition.render(samples).decode().splitlines()
    assert 'nv_inference_request_success{model="m",version="2"} 3' in lines
    assert 'nv_inference_request_success{model="m",version="2",gpu_uuid="GPU-1"} 3' in lines
    failures = [line for line in lines if 'reason="OTHER"' in line]
    assert failures[1].endswith('{model="m",version="2",reason="OTHER",gpu_uuid="GPU-1"} 0')
    assert 'nv_model_load_duration_secs{model="m",version="2"} 0.5' in lines


def test_a_histogram_counts_up_to_each_edge() -> None:
    """Buckets hold all that was at most their edge, the last one everything; sum and number."""
    metric = MetricSpec(name="h", kind="histogram", help="H.", labels=("a",), edges=(0.5, 1.0))
    text = exposition.render([Sample(metric, 2.25, ("x",), "", (1, 0, 2))]).decode()
    assert text.splitlines()[2:] == [
        'h_bucket{a="x",le="0.5"} 1',
        'h_bucket{a="x",le="1"} 1',
        'h_bucket{a="x",le="+Inf"} 3',
        'h_sum{a="x"} 2.25',
        'h_count{a="x"} 3',
    ]


def test_stages_of_a_version_are_exposed() -> None:
    """The request by itself, and what it consists of by stage, in seconds."""
    recorder = TrafficRecorder()
    recorder.count_answered([0], bytes(1), (200_000, 300_000, 400_000, 2_000_000))
    counted = replace(STATISTICS, model="m", stages=recorder.counted_stages())
    lines = exposition.render(exposition.version_samples([counted], {})).decode().splitlines()
    of_version = 'model="m",version="2",transport="http"'
    assert f"bascule_request_duration_seconds_sum{{{of_version}}} 0.002" in lines
    assert f'bascule_stage_duration_seconds_count{{{of_version},stage="queue"}} 1' in lines
    assert f'bascule_request_duration_seconds_bucket{{{of_version},le="0.001"}} 0' in lines
    assert f'bascule_request_duration_seconds_bucket{{{of_version},le="0.0025"}} 1' in lines


def test_a_figure_that_is_no_number_does_not_take_the_others_with_it() -> None:
    """Infinities and NaN are written as Prometheus reads them."""
    spec = catalogue.REQUEST_SUCCESS
    values = (float("inf"), float("-inf"), float("nan"), 1.5)
    samples = [Sample(spec, value, (str(at), "1")) for at, value in enumerate(values)]
    written = [line.split()[-1] for line in exposition.render(samples).decode().splitlines()]
    assert written[-4:] == ["+Inf", "-Inf", "NaN", "1.5"]
