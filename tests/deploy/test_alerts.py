"""Every alarm is about a metric there is, and leads to where the handbook says what to do."""

import re

import promql_parser
import pytest

from tests.deploy.manifests import DEPLOY, Manifest, documents
from tests.harness.server import ROOT
from tests.test_docs import anchors
from tidings.gateway.sockets import SOCKETS_MAX
from tidings.health.metrics import Metrics

ALERTS = [
    rule
    for group in documents(DEPLOY / "prometheus" / "alerts.yaml")[0]["groups"]
    for rule in group["rules"]
]
ITS_OWN = {"up"}
"""What Prometheus itself counts."""


def families() -> set[str]:
    """Return the name of every series that a server may show."""
    shown = re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().render().decode(), re.MULTILINE)
    parts = [f"{name}_{part}" for name, kind in shown for part in ("bucket", "sum", "count")]
    return {name for name, _ in shown} | set(parts)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alarm_is_about_what_is_measured_and_says_what_to_do(alert: Manifest) -> None:
    promql_parser.parse(alert["expr"])
    named = set(re.findall(r"\b(tidings_\w+|up)\b", alert["expr"]))
    assert named
    assert named <= families() | ITS_OWN
    path, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / path)
    assert alert["labels"]["severity"] in {"page", "ticket"}


def test_every_alarm_is_named_where_its_runbook_is() -> None:
    handbook = (ROOT / "docs" / "operations.md").read_text()
    assert [alert["alert"] for alert in ALERTS if f"`{alert['alert']}`" not in handbook] == []


def test_the_alarm_of_a_full_gateway_rings_before_it_is() -> None:
    (alert,) = (alert for alert in ALERTS if alert["alert"] == "TidingsSocketsNearlyFull")
    assert alert["expr"].endswith(f"> {SOCKETS_MAX * 8 // 10}")


def test_what_nodes_are_scaled_by_is_measured() -> None:
    text = (DEPLOY / "prometheus" / "adapter.yaml").read_text()
    asked = re.findall(r"(tidings_\w+)\{", text)
    assert len(asked) == 4
    assert set(asked) <= families()
