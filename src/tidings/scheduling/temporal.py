"""Temporal as the scheduler: a run is one standalone activity, and nothing is kept there of it.

Its server must be 1.32 or later, where such activities are stable. See docs/decisions/0058.
"""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version

from temporalio import activity
from temporalio.client import Client
from temporalio.common import (
    ActivityIDConflictPolicy,
    Priority,
    RetryPolicy,
    WorkerDeploymentVersion,
)
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig

from tidings.domain.errors import Unavailable
from tidings.domain.ports import Clock
from tidings.domain.tiers import Tier, TierHealth, TierState
from tidings.scheduling.frontend import Frontend
from tidings.scheduling.port import Errand, NotNow, Take, Urgency

PATIENCE_SECONDS = 5.0
CONNECT_SECONDS = 2.0
CALL_SECONDS = 2.0
HEARTBEAT_SECONDS = 3.0
"""A worker that is silent for so long is taken for dead, and what it had is brought to another."""
BEAT_SECONDS = 0.5
RETRY_FIRST_SECONDS = 0.2
RETRY_SECONDS_MAX = 3.0
RECONNECT_SECONDS = 1.0
USER_CHARACTERS_MAX = 64
ACTIVITY = "tidings.run"
PRIORITY_FIRST = 2
"""Temporal's, of 1 to 5: lower goes first."""

_SAID = {
    "INVALIDCERTIFICATE": "Temporal's certificate is not trusted here, or is another address's.",
    "INVALIDCONTENTTYPE": "Temporal does not encrypt there: the address says tls://.",
    "PERMISSIONDENIED": "Temporal refuses the API key or the certificate, or for this namespace.",
    "UNAUTHENTICATED": "Temporal refuses the API key or the certificate.",
}
"""By words of the client's errors, in capitals."""

_log = logging.getLogger(__name__)

_RELEASE = WorkerDeploymentConfig(
    WorkerDeploymentVersion(deployment_name="tidings", build_id=version("tidings")),
    use_worker_versioning=False,
)
"""What a worker says it is. Left to find that out, it reads every module: a second in the loop."""


class TemporalScheduler:
    """Brings runs by a task queue of a Temporal server; users take turns by the fairness key."""

    name = "scheduler"
    patience_seconds = PATIENCE_SECONDS

    def __init__(self, frontend: Frontend, queue: str, clock: Clock) -> None:
        self._frontend = frontend
        self._queue = queue
        self._clock = clock
        self._client: Client | None = None
        self._runtime: Runtime | None = None
        self._connecting = asyncio.Lock()

    async def send(self, errand: Errand) -> None:
        """Start the activity of a run at a fence; one that is there already stays the only one."""
        client = await self._connected()
        priority = Priority(
            priority_key=PRIORITY_FIRST + errand.urgency,
            fairness_key=errand.user_id[:USER_CHARACTERS_MAX],
        )
        try:
            await client.start_activity(
                ACTIVITY,
                args=[errand.run_id, errand.fence],
                id=f"{errand.run_id}.{errand.fence}",
                task_queue=self._queue,
                schedule_to_close_timeout=timedelta(seconds=errand.seconds),
                heartbeat_timeout=timedelta(seconds=HEARTBEAT_SECONDS),
                id_conflict_policy=ActivityIDConflictPolicy.USE_EXISTING,
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=RETRY_FIRST_SECONDS),
                    maximum_interval=timedelta(seconds=RETRY_SECONDS_MAX),
                ),
                priority=priority,
                rpc_timeout=timedelta(seconds=CALL_SECONDS),
            )
        except RPCError as error:
            raise _away(_why(error)) from error

    async def bring(self, slots: int, take: Take) -> None:
        """Work on the queue for ever; while Temporal is away, wait for it, and say so once."""
        said = ""
        while True:
            try:
                client = await self._connected()
                said = ""
                await self._worker(client, slots, take).run()
            except (Unavailable, RPCError, RuntimeError) as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("workers look for runs themselves: %s", said)
            await asyncio.sleep(RECONNECT_SECONDS)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return (self,)

    async def health(self) -> TierHealth:
        """Ask whether Temporal serves."""
        began = self._clock.monotonic()
        try:
            client = await self._connected()
            seconds = timedelta(seconds=CALL_SECONDS)
            serves = await client.service_client.check_health(timeout=seconds)
        except Unavailable as error:
            return self._away(error.message)
        except RPCError as error:
            return self._away(_why(error))
        taken = self._clock.monotonic() - began
        if serves:
            return TierHealth(self.name, TierState.OK, "Temporal", taken, "")
        return self._away("It does not serve yet.")

    def _away(self, why: str) -> TierHealth:
        meaning = "Runs begin some seconds late, and users of a busy fleet take turns less evenly."
        return TierHealth(self.name, TierState.DEGRADED, why, None, meaning)

    async def _connected(self) -> Client:
        """Return the one client, which reconnects by itself once it was connected."""
        async with self._connecting:
            if self._client is None:
                # Its threads have files that outlive it: one for all tries, however many.
                self._runtime = self._runtime or _new_runtime()
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        self._client = await Client.connect(
                            self._frontend.target,
                            namespace=self._frontend.namespace,
                            api_key=self._frontend.api_key or None,
                            tls=self._frontend.tls or False,
                            runtime=self._runtime,
                        )
                except (RuntimeError, TimeoutError) as error:
                    raise _away(_why(error)) from error
            return self._client

    def _worker(self, client: Client, slots: int, take: Take) -> Worker:
        @activity.defn(name=ACTIVITY)
        async def run(run_id: str, fence: int) -> None:
            again = activity.info().attempt > 1
            await _with_heartbeats(take, replace(_bare(run_id, fence), again=again))

        beat = timedelta(seconds=BEAT_SECONDS)
        return Worker(
            client,
            task_queue=self._queue,
            activities=[run],
            max_concurrent_activities=slots,
            max_heartbeat_throttle_interval=beat,
            default_heartbeat_throttle_interval=beat,
            deployment_config=_RELEASE,
        )


async def _with_heartbeats(take: Take, errand: Errand) -> None:
    """Let it be taken, and tell Temporal all the while that somebody has it."""
    refused: NotNow | None = None
    async with asyncio.TaskGroup() as tasks:
        beating = tasks.create_task(_beat())
        try:
            await take(errand)
        except NotNow as error:
            refused = error
        finally:
            beating.cancel()
    if refused is not None:
        raise ApplicationError(
            str(refused),
            type="NotNow",
            next_retry_delay=timedelta(seconds=refused.seconds),
            category=ApplicationErrorCategory.BENIGN,
        )


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(BEAT_SECONDS)


def _bare(run_id: str, fence: int) -> Errand:
    """Return as much of an errand as travels: the store knows the rest."""
    return Errand(run_id, fence, user_id="", urgency=Urgency.FRESH, seconds=0.0)


def _away(why: str) -> Unavailable:
    return Unavailable("scheduler_unavailable", why)


def _why(error: Exception) -> str:
    """Return what is wrong, without an address; the client's threads say it in words alone."""
    told = f"{getattr(error, 'status', '')} {error}".upper().replace("_", "")
    for word, sentence in _SAID.items():
        if word in told:
            return sentence
    return "Temporal cannot be reached; runs begin without it."


def _new_runtime() -> Runtime:
    """Return the client's threads, whose log goes where ours does."""
    forwarding = LogForwardingConfig(_log, prepend_target_on_message=False)
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig("error", forwarding)))
