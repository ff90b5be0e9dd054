"""What is counted of the history: how it is fed, and the latencies that it keeps."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tidings.domain.levels import BUCKET_BOUNDS


class HistoryMetrics:
    """The counters of the exporter and of delivery's latencies."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.append_to_send_seconds = Histogram(
            "tidings_append_to_send_seconds",
            "From the log to the socket of a client that was up to date; sampled.",
            registry=registry,
            buckets=BUCKET_BOUNDS,
        )
        self.send_to_ack_seconds = Histogram(
            "tidings_send_to_ack_seconds",
            "From the socket to the client's acknowledgement; sampled.",
            registry=registry,
            buckets=BUCKET_BOUNDS,
        )
        self.runs = Counter(
            "tidings_history_runs", "Runs that were brought to the cold tier.", registry=registry
        )
        self.refused = Counter(
            "tidings_history_refused", "Runs that the cold tier did not take.", registry=registry
        )
        self.failures = Counter(
            "tidings_history_failures", "Turns that the cold tier has ended.", registry=registry
        )
        self.lost_events = Counter(
            "tidings_history_lost_events",
            "Events that the log let go of before they were in the cold tier.",
            registry=registry,
        )
        self.waiting = Gauge(
            "tidings_history_waiting_runs", "Ended runs not in the cold tier.", registry=registry
        )
        self.lag_seconds = Gauge(
            "tidings_history_lag_seconds", "How long the oldest has waited.", registry=registry
        )
