"""A question with its data and what is known: what the planner's rules look at."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tidings.models.rules.evidence import Evidence, Found, Row
from tidings.models.tasks import FILLED_SHARE, AnalysisTask, Constraints, Family, ReportTask

_GROUPS = ("feature", "tool", "operation", "end_user", "api_key_label", "provider")
_MINUTES_UP_TO_DAYS = 0.25
_HOURS_UP_TO_DAYS = 4.0


@dataclass(frozen=True)
class Case:
    """The data's fields, and the results by their role."""

    family: Family
    constraints: Constraints
    coverage: dict[str, float]
    evidence: Evidence

    @classmethod
    def of(cls, task: AnalysisTask | ReportTask) -> "Case":
        """Return the case a task is about."""
        decision = task.decision
        return cls(decision.family, decision.constraints, task.coverage, Evidence(task.calls))

    def has(self, field: str) -> bool:
        """Return whether the data have the field; errors and scores are rare, and still there."""
        return self.coverage.get(field, 0.0) > 0

    def splits(self, field: str) -> bool:
        """Return whether the field is filled well enough to split requests by it."""
        return self.coverage.get(field, 0.0) >= FILLED_SHARE

    @cached_property
    def group(self) -> str | None:
        """Return the field that says what a request was for."""
        return next((field for field in _GROUPS if self.splits(field)), None)

    @cached_property
    def dimensions(self) -> list[str]:
        """Return the fields that spend is split by."""
        found = [self.group] if self.group else []
        return [*found, "model"] if self.splits("model") or not found else found

    @property
    def has_tokens(self) -> bool:
        return self.has("input_tokens") or self.has("output_tokens")

    @property
    def can_price(self) -> bool:
        """Return whether requests can have a price at all."""
        modelled = self.has("model") or self.constraints.assume_model is not None
        return self.has("cost_reported") or (modelled and self.has_tokens)

    @property
    def assumed(self) -> dict[str, Any]:
        """Return the argument that prices requests without a model."""
        model = self.constraints.assume_model
        return {"assume_model": model} if model else {}

    @property
    def data(self) -> Found | None:
        return self.evidence.one("describe_data")

    @property
    def spend(self) -> Found | None:
        return self.evidence.one("spend_by", dimensions=self.dimensions)

    @property
    def spent_usd(self) -> float:
        """Return the total cost, 0 when it is unknown."""
        return self.spend.amount("total_usd") if self.spend else 0.0

    @property
    def priced(self) -> bool:
        """Return whether spend was found to have an amount of money."""
        return self.spent_usd > 0

    @property
    def rhythm(self) -> Found | None:
        return self.evidence.one("spend_over_time")

    @property
    def duplicates(self) -> Found | None:
        return self.evidence.one("duplicate_requests")

    @property
    def failures(self) -> Found | None:
        return self.evidence.one("errors_and_retries")

    @property
    def days(self) -> float:
        """Return the span of the data, 0 when it is unknown."""
        return self.data.amount("days") if self.data else 0.0

    @property
    def period(self) -> str:
        """Return the step of time in which the data are best looked at."""
        if self.days <= _MINUTES_UP_TO_DAYS:
            return "minute"
        return "hour" if self.days <= _HOURS_UP_TO_DAYS else "day"

    def total(self, label: str) -> Found | None:
        """Return the calculation that was given this label."""
        return self.evidence.one("calculate", label=label)

    def spending_rows(self) -> tuple[Row, ...]:
        """Return the rows of spend; of the feature asked about, when the question is about one."""
        rows = self.spend.rows if self.spend else ()
        if self.family is not Family.FEATURE_COST or not self.constraints.feature or not self.group:
            return rows
        wanted = self.constraints.feature.lower()
        asked = tuple(row for row in rows if str(row.cells.get(self.group)).lower() == wanted)
        return asked or rows

    def unknown_features(self) -> list[str]:
        """Return the features that the user named and the data do not."""
        named = [*(limit.feature for limit in self.constraints.features), self.constraints.feature]
        rows = self.spend.rows if self.spend and self.group else ()
        known = {str(row.cells.get(self.group or "")).lower() for row in rows}
        return [name for name in named if name and self.data and name.lower() not in known]

    def slowest(self) -> Row | None:
        """Return the row of the longest p95 latency, by the first look at latency."""
        waits = self.evidence.one("latency_by")
        rows = [row for row in waits.rows if row.cells.get("p95_ms") is not None] if waits else []
        return max(rows, key=lambda row: row.amount("p95_ms"), default=None)
