"""What deploy/ says is what the product is: its settings, commands, ports, probes and bounds."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import typer.main
import yaml
from fastapi import FastAPI

from tests.deploy.manifests import (
    DEPLOY,
    KUBERNETES,
    Manifest,
    compose,
    documents,
    environments,
    nodes,
    objects,
    pod_of,
)
from tests.harness.server import ROOT
from tidings.cli.main import cli
from tidings.cli.serve import STOP_SECONDS
from tidings.gateway.http.app import HEALTH_ROUTERS
from tidings.gateway.presence import ADMISSIONS_PER_SECOND_MAX, DRAIN_SECONDS
from tidings.gateway.sockets import SOCKETS_MAX
from tidings.identity.keys import is_private
from tidings.settings import PREFIX, SECRETS, WORKER, Settings, load

PORT = Settings().port
KUBERNETES_VERSION = "1.34"
DRAIN_SECONDS_MAX = SOCKETS_MAX / ADMISSIONS_PER_SECOND_MAX + 2 * DRAIN_SECONDS + STOP_SECONDS
"""How long a full gateway may take to stop: its clients are asked, waited for, cut off."""
WORKER_SECONDS_MAX = STOP_SECONDS + 10
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_file_parses(path: Path) -> None:
    assert all(isinstance(document, dict) for document in documents(path))


@pytest.mark.parametrize("one", objects(), ids=lambda one: f"{one['kind']}-{one.get('metadata')}")
def test_every_object_is_one_that_kubernetes_knows(one: Manifest) -> None:
    if one["kind"] != "Kustomization":
        kubernetes_validate.validate(one, KUBERNETES_VERSION, strict=True)


def test_every_manifest_but_the_migration_is_applied_at_once() -> None:
    (kustomization,) = objects("Kustomization")
    there = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert set(kustomization["resources"]) == there - {"kustomization.yaml", "migrate.yaml"}


def test_every_setting_that_is_named_is_one() -> None:
    known = {PREFIX + name.upper() for name in Settings.__dataclass_fields__}
    known |= {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    named = {name for path in FILES for name in re.findall(r"TIDINGS_[A-Z_]+", path.read_text())}
    assert named <= known
    assert len(named) > 10


def test_the_settings_of_every_node_are_taken(tmp_path: Path) -> None:
    seen = [load({}, environment) for environment in environments(tmp_path)]
    assert len(seen) == 6
    assert all(settings.database_url.startswith("postgresql://") for settings in seen)


def test_every_command_is_one_of_ours() -> None:
    commands = typer.main.get_command(cli).commands  # type: ignore[attr-defined]
    said = {role for role, _ in nodes()} | set(_commands_of_compose())
    assert said == {"gateway", "worker", "migrate"}
    assert said <= set(commands)


def _commands_of_compose() -> list[str]:
    services = compose()["services"].values()
    return [s["command"][0] for s in services if s["image"].startswith("tidings")]


def test_probes_ask_what_a_worker_answers_too_at_the_port_that_is_open() -> None:
    app = FastAPI()
    for router in HEALTH_ROUTERS:
        app.include_router(router)
    paths = set(app.openapi()["paths"])
    for role, pod in nodes():
        container = pod["containers"][0]
        if role == "migrate":
            continue
        (port,) = container["ports"]
        assert port["containerPort"] == PORT
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container[probe]["httpGet"]
            assert (asked["path"] in paths, asked["port"]) == (True, port["name"])
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_image_and_the_balancer_speak_of_the_same_port_and_tools() -> None:
    containerfile = (DEPLOY / "Containerfile").read_text()
    assert f"TIDINGS_PORT={PORT}\n" in containerfile
    assert f"EXPOSE {PORT}\n" in containerfile
    (version,) = re.findall(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())
    assert f"ARG UV_VERSION={version}\n" in containerfile
    assert f"gateway:{PORT} check" in (DEPLOY / "balancer.cfg").read_text()


def test_a_node_has_the_time_to_stop_that_it_may_take() -> None:
    for role, pod in nodes():
        if role == "migrate":
            continue
        before = pod["containers"][0].get("lifecycle", {"preStop": {"sleep": {"seconds": 0}}})
        left = pod["terminationGracePeriodSeconds"] - before["preStop"]["sleep"]["seconds"]
        assert left >= (WORKER_SECONDS_MAX if role == WORKER else DRAIN_SECONDS_MAX)
    services = compose()["services"]
    assert _seconds(services["gateway"]["stop_grace_period"]) >= DRAIN_SECONDS_MAX
    assert _seconds(services["worker"]["stop_grace_period"]) >= WORKER_SECONDS_MAX


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_no_pod_has_a_right_that_it_does_not_need() -> None:
    for workload in objects("Deployment", "Job"):
        pod = pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= set(container["resources"])


def test_no_service_of_the_cluster_becomes_a_setting() -> None:
    """Of a Service `tidings` Kubernetes tells pods TIDINGS_PORT=tcp://..., which is no port."""
    pods = [pod_of(workload) for workload in objects("Deployment", "Job")]
    assert [pod["enableServiceLinks"] for pod in pods] == [False] * 4


def test_secrets_are_files_and_the_key_is_one_that_a_node_takes() -> None:
    for _, pod in nodes():
        (secrets,) = (volume for volume in pod["volumes"] if volume["name"] == "secrets")
        user = pod["securityContext"]["runAsUser"]
        assert is_private(secrets["secret"]["defaultMode"], owner=0, reader=user)
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    for environment in _environments_of_compose():
        values = {name: environment[name] for name in environment if name.startswith(PREFIX)}
        assert not {PREFIX + name.upper() for name in SECRETS} & set(values)


def _environments_of_compose() -> list[dict[str, str]]:
    return [service.get("environment", {}) for service in compose()["services"].values()]


def test_what_compose_mounts_and_waits_for_is_there() -> None:
    whole = compose()
    for service in whole["services"].values():
        assert set(service.get("secrets", ())) <= set(whole["secrets"])
        assert set(service.get("depends_on", ())) <= set(whole["services"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in whole["volumes"] or (DEPLOY / source).is_file()


def test_what_is_scaled_protected_and_served_is_there() -> None:
    labels = {
        workload["metadata"]["name"]: workload["spec"]["template"]["metadata"]["labels"]
        for workload in objects("Deployment")
    }
    for scaler in objects("HorizontalPodAutoscaler"):
        assert scaler["spec"]["scaleTargetRef"]["name"] in labels
    chosen = [
        budget["spec"]["selector"]["matchLabels"] for budget in objects("PodDisruptionBudget")
    ]
    chosen += [service["spec"]["selector"] for service in objects("Service")]
    for selector in chosen:
        assert any(selector.items() <= has.items() for has in labels.values())


def test_the_secrets_that_are_read_are_those_the_readme_makes() -> None:
    readme = (DEPLOY / "README.md").read_text()
    for secret in compose()["secrets"].values():
        assert secret["file"] in readme
    for _, pod in nodes():
        for volume in pod["volumes"]:
            for item in volume.get("secret", {}).get("items", ()):
                assert f"--from-file={item['key']}=" in readme


def test_the_metrics_that_nodes_are_scaled_by_come_from_the_adapter() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())["rules"]
    made = {rule["name"]["as"] for kind in rules.values() for rule in kind}
    asked = {
        next(metric[kind]["metric"]["name"] for kind in ("pods", "external") if kind in metric)
        for scaler in objects("HorizontalPodAutoscaler")
        for metric in scaler["spec"]["metrics"]
    }
    assert asked == made


def test_nodes_believe_the_balancer_and_it_passes_on_nothing_that_clients_say_of_themselves() -> (
    None
):
    subnet = compose()["networks"]["default"]["ipam"]["config"][0]["subnet"]
    assert compose()["x-node"]["environment"]["TIDINGS_TRUSTED_PROXIES"] == subnet
    lines = [line.strip() for line in (DEPLOY / "balancer.cfg").read_text().splitlines()]
    kept_off = [f"http-request del-header {name}" for name in ("X-Forwarded-For", "Forwarded")]
    assert {*kept_off, "option forwardfor"} <= set(lines)
