"""`deploy/` as the tools read it that it is for, where they are installed."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
K8S: Final = ROOT / "deploy" / "k8s"
VERSIONS: Final = ("1.27", "1.33", "1.37")
OVERLAY: Final = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [k8s/gpu]
components: [k8s/monitoring]
"""
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not there")
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


def run(*words: str | Path) -> str:
    """Run a tool; return what it printed."""
    ran = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def rendered(folder: Path) -> list[dict[str, Any]]:
    """Have kustomize put a folder together."""
    return list(yaml.safe_load_all(run("kubectl", "kustomize", folder)))


def plain() -> list[dict[str, Any]]:
    """Read the base's manifests as they lie there."""
    files = (path for path in K8S.glob("base/*.yaml") if path.name != "kustomization.yaml")
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_fit_the_schema_of_kubernetes(version: str) -> None:
    """No field that it does not know, none of another type."""
    validate = pytest.importorskip("kubernetes_validate").validate
    manifests = plain()

    assert len(manifests) == 5
    for manifest in manifests:
        validate(manifest, version, strict=True)


@needs_kubectl
def test_the_overlay_for_gpus_fits_the_schema_and_asks_for_one() -> None:
    """As kustomize makes it of the base and its patch."""
    validate = pytest.importorskip("kubernetes_validate").validate
    manifests = rendered(K8S / "gpu")
    deployment = next(one for one in manifests if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    for manifest in manifests:
        validate(manifest, VERSIONS[-1], strict=True)
    assert container["image"].endswith("-cuda")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["limits"]["cpu"] == container["resources"]["requests"]["cpu"]


@needs_kubectl
def test_the_base_is_what_kustomize_makes_of_it() -> None:
    """So `kubectl apply -f` of the files does the same."""

    def sorted_by_name(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))

    assert sorted_by_name(rendered(K8S / "base")) == sorted_by_name(plain())


@needs_kubectl
def test_the_monitor_joins_an_overlay(tmp_path: Path) -> None:
    """As a component, for those who have the operator."""
    shutil.copytree(K8S, tmp_path / "k8s")
    (tmp_path / "kustomization.yaml").write_text(OVERLAY)

    kinds = [one["kind"] for one in rendered(tmp_path)]

    assert sorted(kinds) == sorted([*(one["kind"] for one in plain()), "ServiceMonitor"])


@needs_systemd
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """No key that it does not know, no value that it cannot read: it would leave those out."""
    unit = (ROOT / "deploy" / "bascule.service").read_text()
    there = tmp_path / "bascule.service"
    there.write_text(unit.replace("/opt/bascule/bin/bascule", sys.executable))

    verify = ("systemd-analyze", "verify", "--man=no", there)
    said = subprocess.run(verify, capture_output=True, text=True, check=False)

    assert (said.returncode, said.stderr) == (0, "")


@needs_promtool
def test_prometheus_takes_the_configuration_of_compose(tmp_path: Path) -> None:
    """With the rules beside it, as compose mounts them."""
    shutil.copy(ROOT / "deploy" / "compose" / "prometheus.yaml", tmp_path)
    shutil.copy(ROOT / "deploy" / "prometheus" / "rules.yaml", tmp_path)

    assert "SUCCESS" in run("promtool", "check", "config", tmp_path / "prometheus.yaml")
