"""What is counted, in one object that is built once and passed to whoever counts."""

from collections import Counter as Counted
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from tidings.health.history_metrics import HistoryMetrics

METRICS_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """The counters of one server. Labels take values from closed sets only, never from input."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter("http_requests", "HTTP answers.", "route", "status")
        self.request_seconds = self._histogram("http_request", "Time to answer.", "route")
        self.refusals = self._counter("refusals", "Answers that said no.", "code")
        self.limit_hits = self._counter("limit_hits", "Limits that were reached.", "limit")
        self.sockets = self._gauge("sockets", "Open WebSockets.")
        self.events = self._counter("events_appended", "Events in the log.")
        self.joined = self._counter("events_joined", "Pieces of answers that others stand for now.")
        self.trimmed = self._counter("events_trimmed", "Events that were too old to be kept.")
        self._epochs = self._gauge("epochs", "Lineages of the store: 1 until a restore.")
        self._lost = self._gauge("lost_events", "Events that restores are known to have lost.")
        self.delivery_mismatches = self._counter(
            "delivery_mismatches", "Runs of which a client says that they did not reach it whole."
        )
        self.model_requests = self._counter(
            "model_requests", "Requests to models.", "model", "outcome"
        )
        self.model_seconds = self._histogram("model_request", "Time of a request.", "model")
        self.model_retries = self._counter("model_retries", "Requests sent again.", "model")
        self.model_fallbacks = self._counter(
            "model_fallbacks", "Replies of another model in this one's place.", "model", "cause"
        )
        self.model_breakers = self._gauge(
            "model_breaker", "1 for the state that the model's breaker is in.", "model", "state"
        )
        self.part_restarts = self._counter(
            "part_restarts", "Parts of the server that crashed and were begun again.", "part"
        )
        self.fenced_writes = self._counter("fenced_writes", "Writes of overtaken workers.")
        self.open_runs = self._gauge("runs_open", "Runs that have not ended.", "state")
        self.queue_wait = self._gauge(
            "queue_wait_seconds", "How long one more run would wait for room."
        )
        self.shed = self._counter(
            "shed", "Commands refused because there was too much to do.", "priority", "bound"
        )
        self.concerns = self._gauge(
            "concern",
            "1 for what is not well, by its code, and as which state it counts.",
            "code",
            "state",
        )
        self._nodes = self._gauge(
            "nodes", "Processes of the fleet, as this one hears of them.", "role", "state"
        )
        self.clock_ahead = self._gauge("clock_ahead_seconds", "The machine's, before the store's.")
        self.loop_lag = self._histogram("loop_lag", "How late the event loop is.")
        self.loop_blocks = self._counter("loop_blocks", "Times that the event loop stood still.")
        self.runs = self._counter("runs_ended", "Runs that ended.", "outcome")
        self.inbox_items = self._counter("inbox_items", "Ends that nobody had heard of.")
        self.webhook_deliveries = self._counter("webhook_deliveries", "Webhook calls.", "outcome")
        self.outbox_lag = self._gauge("outbox_lag_seconds", "How late the outbox is.")
        self.notes = self._counter(
            "notes", "Notes of and for other processes, and what became of them.", "fate"
        )
        self.history = HistoryMetrics(self._registry)
        self.run_seconds = self._histogram("run", "Time from command to end.", "outcome")

    def run_ended(self, outcome: str, seconds: float) -> None:
        """Count the end of a run, so long after its command."""
        self.runs.labels(outcome).inc()
        self.run_seconds.labels(outcome).observe(seconds)

    def model_asked(self, model: str, outcome: str, seconds: float) -> None:
        """Count a request to a model, and how it ended."""
        self.model_requests.labels(model, outcome).inc()
        self.model_seconds.labels(model).observe(seconds)

    def model_retried(self, model: str) -> None:
        """Count a request to a model that is sent again."""
        self.model_retries.labels(model).inc()

    def model_fell_back(self, model: str, code: str) -> None:
        """Count a reply that another model gave in this one's place."""
        self.model_fallbacks.labels(model, code).inc()

    def note(self, fate: str) -> None:
        """Count a note between processes, by what became of it."""
        self.notes.labels(fate).inc()

    def nodes_seen(self, nodes: Iterable[tuple[str, str]]) -> None:
        """Show how many nodes there are, by role and state."""
        self._nodes.clear()
        for (role, state), count in Counted(nodes).items():
            self._nodes.labels(role, state).set(count)

    def lineage(self, epochs: int, lost_events: int) -> None:
        """Show how many lineages the store has had, and what is known to be lost."""
        self._epochs.set(epochs)
        self._lost.set(lost_events)

    @property
    def outbox_lag_seconds(self) -> float:
        """How late the outbox was found to be last."""
        return self._registry.get_sample_value("tidings_outbox_lag_seconds") or 0.0

    def render(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"tidings_{name}", says, labels, registry=self._registry)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"tidings_{name}", says, labels, registry=self._registry)

    def _histogram(self, name: str, says: str, *labels: str) -> Histogram:
        return Histogram(
            f"tidings_{name}_seconds", says, labels, registry=self._registry, buckets=_SECONDS
        )
