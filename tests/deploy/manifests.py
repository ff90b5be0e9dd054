"""What is in deploy/, read as data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.harness.server import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
Manifest = dict[str, Any]


def documents(path: Path) -> list[Manifest]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def objects(*kinds: str) -> list[Manifest]:
    """Return the objects of Kubernetes, of all kinds or of some."""
    found = [one for path in sorted(KUBERNETES.glob("*.yaml")) for one in documents(path)]
    return [one for one in found if one["kind"] in (kinds or {o["kind"] for o in found})]


def compose() -> Manifest:
    """Return the compose file."""
    (found,) = documents(DEPLOY / "compose.yaml")
    return found


def pod_of(workload: Manifest) -> Manifest:
    """Return what a Deployment or a Job makes pods of."""
    found: Manifest = workload["spec"]["template"]["spec"]
    return found


def nodes() -> Iterator[tuple[str, Manifest]]:
    """Yield the role and the pod of everything that runs our image."""
    for workload in objects("Deployment", "Job"):
        pod = pod_of(workload)
        if "args" in (container := pod["containers"][0]) and container["name"] == "tidings":
            yield container["args"][0], pod


def environments(folder: Path) -> Iterator[dict[str, str]]:
    """Yield what each of our containers is told; its secrets are files in `folder`."""
    services = compose()["services"].values()
    told = [s["environment"] for s in services if s["image"].startswith("tidings")]
    (settings,) = objects("ConfigMap")
    told += [
        settings["data"] | {e["name"]: e["value"] for e in pod["containers"][0].get("env", ())}
        for _, pod in nodes()
    ]
    for variables in told:
        yield {name: _read(name, str(value), folder) for name, value in variables.items()}


def _read(name: str, value: str, folder: Path) -> str:
    if not name.endswith("_FILE"):
        return "" if value.startswith("$") else value
    path = folder / Path(value).name
    path.write_text("postgresql://serving:a-secret-of-more-than-32-characters@warm/tidings\n")
    return str(path)
