"""`deploy/`: images, compose and Kubernetes' manifests agree with the code and with one another."""

import fnmatch
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from serving.cli.main import WORDS
from serving.edge.openapi import said_of
from serving.settings import described_settings, load_settings

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
BASE: Final = DEPLOY / "k8s" / "base"
IMAGES: Final = ("cpu", "cuda")
VARIABLES: Final = frozenset(variable for variable, _, _ in described_settings())
VERSION: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ENDING_S: Final = 10
"""What an end takes besides the two drains, edge's and workers'."""


def documents(path: Path) -> list[dict[str, Any]]:
    """Read a file of YAML."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def instructions(kind: str) -> list[tuple[str, str]]:
    """Read a Dockerfile as (instruction, rest), one for each."""
    text = (DEPLOY / f"Dockerfile.{kind}").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines))
    return [
        (word, rest.strip())
        for word, _, rest in (line.strip().partition(" ") for line in whole.splitlines())
        if word
    ]


def variables_of(kind: str) -> dict[str, str]:
    """Return the settings that an image makes."""
    text = " ".join(rest for word, rest in instructions(kind) if word == "ENV")
    return dict(re.findall(r"(BASCULE_\w+)=(\S+)", text))


def pod() -> dict[str, Any]:
    """Return the Deployment's pod, and make sure that it has one container."""
    found: dict[str, Any] = documents(BASE / "deployment.yaml")[0]["spec"]["template"]["spec"]
    assert len(found["containers"]) == 1
    return found


def container() -> dict[str, Any]:
    """Return its container."""
    found: dict[str, Any] = pod()["containers"][0]
    return found


def composed() -> dict[str, Any]:
    """Return what `deploy/compose.yaml` says."""
    return documents(DEPLOY / "compose.yaml")[0]


def seconds(text: str) -> float:
    """Read a duration of compose."""
    assert text.endswith("s")
    return float(text[:-1])


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_listens_where_it_says(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variables are settings, and valid; the ports are those that are exposed and probed."""
    given = variables_of(kind)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    said = dict(instructions(kind))

    assert given.keys() <= VARIABLES
    assert settings.log_to_stderr  # where `docker logs` and `kubectl logs` look
    ports = [settings.http.port, settings.grpc.port, settings.metrics.port]
    assert said["EXPOSE"].split() == [str(port) for port in ports]
    assert f"http://127.0.0.1:{ports[0]}/v2/health/live" in said["HEALTHCHECK"]
    assert said["VOLUME"] == f'["{settings.home}", "{settings.model_repository}"]'
    assert [one["containerPort"] for one in container()["ports"]] == ports


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_ends_as_bascule_does(kind: str) -> None:
    """SIGTERM reaches it: no shell is process 1; and it is nobody's who may do anything."""
    said = dict(instructions(kind))

    assert (said["ENTRYPOINT"], said["CMD"]) == ('["bascule"]', '["serve"]')
    assert instructions(kind)[-1] == ("USER", "10001:10001")
    assert "serve" in WORDS


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_is_made_of_files_that_reach_its_build(kind: str) -> None:
    """They exist, and `.dockerignore` keeps none of them out."""
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        path
        for word, rest in instructions(kind)
        if word == "COPY" and not rest.startswith("--from")
        for path in rest.split()[:-1]
    }

    assert copied == let_in
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_the_two_images_differ_where_they_say() -> None:
    """A change of one is a change of both, but for torch's build and the GPU's packages."""
    cpu, cuda = (set(instructions(kind)) for kind in IMAGES)

    assert sorted(word for word, _ in cpu - cuda) == ["ARG", "ARG", "RUN"]
    assert sorted(word for word, _ in cuda - cpu) == ["ARG", "ENV", "RUN"]


def test_images_bring_extras_that_exist_and_the_torch_that_is_pinned() -> None:
    """Their versions are the constraints'."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for kind in IMAGES:
        asked = next(rest for word, rest in instructions(kind) if rest.startswith("EXTRAS="))
        assert set(asked.removeprefix("EXTRAS=").split(",")) <= extras.keys(), kind
    assert re.search(r"^torch==[\d.]+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.glob("**/*.yaml")), ids=lambda path: str(path.relative_to(DEPLOY))
)
def test_images_of_ours_have_this_version(path: Path) -> None:
    """Wherever one is named."""
    tags = re.findall(r"(?:bascule:|newTag: )([\d.]+)-(\w+)", path.read_text())

    assert [tag for tag in tags if tag not in {(VERSION, kind) for kind in IMAGES}] == []


@pytest.mark.parametrize("kind", IMAGES)
def test_the_commands_that_build_images_have_this_version(kind: str) -> None:
    """They are copied and run."""
    assert f"-t bascule:{VERSION}-{kind} " in (DEPLOY / f"Dockerfile.{kind}").read_text()


def test_settings_of_the_manifests_exist() -> None:
    """A pod with an unknown one would not start."""
    named = [one["name"] for one in container()["env"]]
    named += composed()["services"]["bascule"]["environment"]

    assert named
    assert set(named) <= VARIABLES
    assert [word for word in container()["args"] if word not in WORDS] == []


def test_a_pod_has_the_time_to_drain() -> None:
    """The kubelet kills what is left after the grace period, which includes `preStop`."""
    drain_s = float(next(e["value"] for e in container()["env"] if e["name"] == "BASCULE_DRAIN_S"))
    sleep, waited_s = container()["lifecycle"]["preStop"]["exec"]["command"]

    assert sleep == "sleep"
    assert pod()["terminationGracePeriodSeconds"] >= float(waited_s) + 2 * drain_s + ENDING_S


def test_a_container_of_compose_has_the_time_to_drain() -> None:
    """Docker itself waits for 10 seconds."""
    service = composed()["services"]["bascule"]
    drain_s = float(service["environment"]["BASCULE_DRAIN_S"])

    assert seconds(service["stop_grace_period"]) >= 2 * drain_s + ENDING_S


def test_probes_ask_for_what_there_is() -> None:
    """The protocol's own paths, at the HTTP port; a rolling update waits longer than they do."""
    probes = [container()[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    startup = probes[0]

    for probe in probes:
        assert said_of("GET", probe["httpGet"]["path"]) is not None
        assert probe["httpGet"]["port"] == "http"
    deployment = documents(BASE / "deployment.yaml")[0]["spec"]
    longest_s = startup["periodSeconds"] * startup["failureThreshold"]
    assert deployment["progressDeadlineSeconds"] > longest_s


def test_a_pod_may_do_little() -> None:
    """What the restricted standard of Kubernetes asks for, and a root that is read-only."""
    own = container()["securityContext"]

    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["securityContext"]["runAsNonRoot"]
    assert pod()["securityContext"]["runAsUser"] == 10001
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod()["automountServiceAccountToken"]


def test_what_is_written_is_on_volumes() -> None:
    """The home and temporary files; the models are only read."""
    given = variables_of("cpu")
    mounts = {m["mountPath"]: m.get("readOnly", False) for m in container()["volumeMounts"]}
    home, models = given["BASCULE_HOME"], given["BASCULE_MODEL_REPOSITORY"]

    assert mounts == {models: True, home: False, "/tmp": False}  # noqa: S108  in the container
    assert {m["name"] for m in container()["volumeMounts"]} == {v["name"] for v in pod()["volumes"]}


def test_services_budgets_and_policies_are_about_the_pods() -> None:
    """Their selectors are labels of the pod, their ports its ports' names."""
    template = documents(BASE / "deployment.yaml")[0]["spec"]["template"]
    labels = template["metadata"]["labels"]
    names = {one["name"]: one["containerPort"] for one in container()["ports"]}

    for service in documents(BASE / "service.yaml"):
        assert service["spec"]["selector"] == labels
        for port in service["spec"]["ports"]:
            assert names[port["targetPort"]] == port["port"]
    budget = documents(BASE / "disruption-budget.yaml")[0]["spec"]
    policy = documents(BASE / "network-policy.yaml")[0]["spec"]
    assert budget["selector"]["matchLabels"] == policy["podSelector"]["matchLabels"] == labels
    let_in = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert let_in == names.keys()
    monitor = documents(DEPLOY / "k8s" / "monitoring" / "service-monitor.yaml")[0]["spec"]
    asked = [
        service
        for service in documents(BASE / "service.yaml")
        if monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    ]
    assert [service["metadata"]["name"] for service in asked] == ["bascule-pods"]
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in asked[0]["spec"]["ports"]}


def referred() -> Iterator[tuple[Path, str]]:
    """Every file or folder that a kustomization names."""
    for path in (DEPLOY / "k8s").glob("*/kustomization.yaml"):
        said = documents(path)[0]
        for name in said.get("resources", ()):
            yield path.parent, name
        for patch in said.get("patches", ()):
            yield path.parent, patch["path"]


def test_kustomizations_name_what_is_there_and_all_of_it() -> None:
    """No file is forgotten, none is missing."""
    named = {(folder / name).resolve() for folder, name in referred()}
    there = {path.resolve() for path in (DEPLOY / "k8s").glob("*/*.yaml")}

    assert [path for path in named if not path.exists()] == []
    assert {path for path in there if path.name != "kustomization.yaml"} == {
        path for path in named if path.is_file()
    }


def test_the_gpu_patch_is_of_the_deployment_of_the_base() -> None:
    """Of another name it would be an error, of another container a second container."""
    patch = documents(DEPLOY / "k8s" / "gpu" / "deployment.yaml")[0]

    assert patch["metadata"] == {"name": "bascule"}
    assert [c["name"] for c in patch["spec"]["template"]["spec"]["containers"]] == ["bascule"]


def test_compose_mounts_what_is_there() -> None:
    """Files of this folder, volumes that it declares, and the models."""
    declared = composed()["volumes"].keys()
    for service in composed()["services"].values():
        for mount in service["volumes"]:
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), mount
            else:
                assert source in declared or source == "${MODELS", mount


def test_prometheus_of_compose_asks_bascule_and_grafana_asks_prometheus() -> None:
    """Under the names that compose gives them, with the rules and boards that are mounted."""
    services = composed()["services"]
    said = documents(DEPLOY / "compose" / "prometheus.yaml")[0]
    made = documents(DEPLOY / "prometheus" / "prometheus.yaml")[0]
    source = documents(DEPLOY / "compose" / "datasources.yaml")[0]["datasources"][0]
    boards = documents(DEPLOY / "compose" / "dashboards.yaml")[0]["providers"][0]["options"]["path"]
    metrics_port = variables_of("cpu")["BASCULE_METRICS"].rpartition(":")[2]

    scrape = said["scrape_configs"][0]
    assert scrape["static_configs"] == [{"targets": [f"bascule:{metrics_port}"]}]
    assert "bascule" in services
    assert {**made, "scrape_configs": 0, "alerting": 0} == {
        **said,
        "scrape_configs": 0,
        "alerting": 0,
    }
    assert scrape["job_name"] == made["scrape_configs"][0]["job_name"]
    assert (
        "./prometheus/rules.yaml:/etc/prometheus/rules.yaml:ro" in services["prometheus"]["volumes"]
    )
    assert source["url"] == "http://prometheus:9090"
    assert f"./grafana:{boards}:ro" in services["grafana"]["volumes"]


def test_no_port_of_compose_is_open_to_others() -> None:
    """Nothing there asks who calls."""
    ports = [port for one in composed()["services"].values() for port in one["ports"]]

    assert len(ports) == 5
    assert [port for port in ports if not fnmatch.fnmatch(port, "127.0.0.1:*:*")] == []
