"""A tool server that is kept: begun again when it dies, and asked only for what was accepted."""

import asyncio
import logging
import random

from pydantic import BaseModel

from tidings.domain.errors import Failure, TidingsError, Unavailable
from tidings.domain.facts import ToolResult
from tidings.domain.ports import Clock
from tidings.health.overview import ToolServerHealth
from tidings.tools.catalogue import Catalogue
from tidings.tools.mcp.configuration import ToolServer
from tidings.tools.mcp.connection import FAULTS, START_SECONDS, Open, ToolConnection, connection
from tidings.tools.mcp.listing import Listed, Listing
from tidings.tools.mcp.pins import Pins
from tidings.tools.mcp.results import result_of
from tidings.tools.mcp.room import FairRoom
from tidings.tools.mcp.schemas import arguments_model
from tidings.tools.mcp.tally import CallTally
from tidings.tools.port import Tool, ToolContext

LISTING_SECONDS = 60.0
LOOK_SECONDS = 60.0
RESTART_SECONDS = (0.5, 60.0)
STEADY_SECONDS = 60.0
FIRST_CONNECTION_SECONDS = 5.0

_log = logging.getLogger(__name__)


class KeptServer:
    """A tool server: `run` keeps it connected, its tools in the catalogue call it.

    What is shown to models and checked is the tool as it was accepted; one that its server lists
    otherwise is not called.
    """

    def __init__(
        self,
        name: str,
        settings: ToolServer,
        open_: Open,
        pins: Pins,
        catalogue: Catalogue,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.name = name
        self._settings = settings
        self._open = open_
        self._pins = pins
        self._catalogue = catalogue
        self._clock = clock
        self._rng = rng
        self._accepted: dict[str, Listed] = {}
        self._shadowed: set[str] = set()
        self._listing = Listing({}, {})
        self._listed_at = float("-inf")
        self._connection: ToolConnection | None = None
        self._tried = asyncio.Event()
        self._room = FairRoom(name)
        self._tally = CallTally(clock)
        self._restarts = -1
        self._fault = ""
        self._refreshing = asyncio.Lock()

    async def begin(self) -> None:
        """Put the tools that were accepted before into the catalogue; nothing is connected yet."""
        self._take(await self._pins.accepted(self.name))

    async def run(self) -> None:
        """Keep the server connected, for ever; a wait that doubles is between two attempts."""
        least, most = RESTART_SECONDS
        wait = least
        while True:
            begun = self._clock.monotonic()
            self._restarts += 1
            try:
                await self._serve()
            except FAULTS as error:
                self._fault = reason(error)
                _log.warning("the tool server %s is down: %s", self.name, self._fault)
            self._tried.set()
            _leave_if_asked()
            if self._clock.monotonic() - begun >= STEADY_SECONDS:
                wait = least
            await asyncio.sleep(wait * self._rng.uniform(0.5, 1.0))
            wait = min(most, wait * 2)

    async def call(self, context: ToolContext, tool: str, values: BaseModel) -> ToolResult:
        """Call a tool as it was accepted.

        Raises:
            Unavailable: `tool_server_down`, `tool_server_busy`: try again later.
            Failure: `tool_changed`, or as `ToolConnection.call` and `result_of` do.
        """
        with self._tally.counted():
            async with self._room.entered(context.user.user_id):
                link = await self._up()
                await self._check(link, tool)
                answer = await link.call(tool, values.model_extra or {}, context.idempotency_key)
            return result_of(f"{self.name}.{tool}", answer)

    def health(self) -> ToolServerHealth:
        """Return how the server is."""
        state = "down" if self._tried.is_set() else "starting"
        if self._connection is not None and not self._connection.ending.ended:
            state = "up"
        listed = sorted(self._listing.tools.keys() | self._accepted.keys())
        return ToolServerHealth(
            name=self.name,
            state=state,
            fault="" if state == "up" else self._fault,
            tools=tuple(sorted(self._accepted)),
            changed=tuple(t for t in listed if self._changed(t)) if state == "up" else (),
            restarts=max(0, self._restarts),
            under_way=self._room.inside,
            waiting=self._room.waiting,
            outcomes=dict(self._tally.outcomes),
            median_seconds=self._tally.median_seconds,
            slowest_seconds=self._tally.slowest_seconds,
        )

    async def _serve(self) -> None:
        """Connect, learn the tools, and stay until the connection ends."""
        async with connection(self.name, self._open) as link:
            async with asyncio.timeout(START_SECONDS):
                await self._refresh(link)
            _leave_if_asked()
            self._connection = link
            self._tried.set()
            try:
                await self._stay(link)
            finally:
                self._connection = None
            raise link.ending.why

    async def _stay(self, link: ToolConnection) -> None:
        """Look at the tools again from time to time, until the connection ends."""
        while not link.ending.ended:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await link.ending.wait()
            except TimeoutError:
                async with asyncio.timeout(START_SECONDS):
                    await self._refresh(link)

    async def _up(self) -> ToolConnection:
        """Return the connection; right after the start, wait a little for the first one."""
        if not self._tried.is_set():
            try:
                async with asyncio.timeout(FIRST_CONNECTION_SECONDS):
                    await self._tried.wait()
            except TimeoutError:
                pass  # the same as one that failed
        if self._connection is None or self._connection.ending.ended:
            raise self._down()
        return self._connection

    async def _check(self, link: ToolConnection, tool: str) -> None:
        """Make sure that the server still lists the tool as it was accepted."""
        old = self._clock.monotonic() - self._listed_at >= LISTING_SECONDS
        if old or self._changed(tool):
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self._refresh(link)
            except FAULTS as error:
                link.ending.end(Failure("tool_server_lost", reason(error)))
                raise self._down() from error
        if why := self._changed(tool):
            raise Failure("tool_changed", why)

    def _down(self) -> Unavailable:
        return Unavailable(
            "tool_server_down", f"The tool server {self.name} is down; try again later."
        )

    def _changed(self, tool: str) -> str:
        """Return why a tool is not the accepted one any more, or nothing."""
        listed, accepted = self._listing.tools.get(tool), self._accepted.get(tool)
        if listed is None or accepted is None:
            return f"{self.name} does not offer {tool} any more as it was accepted."
        if listed.digest != accepted.digest:
            return f"{self.name} describes {tool} otherwise than it was accepted; ask the operator."
        return ""

    async def _refresh(self, link: ToolConnection) -> None:
        async with self._refreshing:
            before, self._listing = self._listing, await link.tools()
            self._listed_at = self._clock.monotonic()
            self._take(await self._pins.meet(self.name, self._listing.tools))
        if self._listing != before:
            self._tell()

    def _tell(self) -> None:
        """Tell the operator what is not offered, or not as it was."""
        for tool, why in self._listing.unusable.items():
            _log.warning("%s of the tool server %s is not offered: %s", tool[:64], self.name, why)
        if held := sorted(t for t in self._listing.tools if self._changed(t)):
            _log.warning(
                "the tool server %s has changed %s; see `tidings tools`", self.name, ", ".join(held)
            )

    def _take(self, accepted: dict[str, Listed]) -> None:
        """Have the accepted tools, as they were accepted, in the catalogue."""
        for name, listed in accepted.items():
            before = self._accepted.get(name)
            if before is None:
                self._add(listed)
            elif before.digest != listed.digest and name not in self._shadowed:
                self._catalogue.put(self._tool(listed))
        self._accepted = accepted

    def _add(self, listed: Listed) -> None:
        try:
            self._catalogue.add(self._tool(listed))
        except ValueError:
            self._shadowed.add(listed.name)
            _log.warning("%s.%s is not offered: there is one already", self.name, listed.name)

    def _tool(self, listed: Listed) -> Tool:
        async def call(context: ToolContext, values: BaseModel) -> ToolResult:
            return await self.call(context, listed.name, values)

        name = f"{self.name}.{listed.name}"
        return Tool(
            name=name,
            description=listed.description,
            arguments=arguments_model(name, listed.schema),
            call=call,
            effect=self._settings.effect(listed.name),
            foreign=True,
            deadline_seconds=self._settings.call_seconds,
        )


def _leave_if_asked() -> None:
    """Go on with being cancelled: the library's own cancelling may have hidden it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def reason(error: BaseException) -> str:
    """Return what went wrong, in a line for the operator."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TidingsError):
        return f"{error.code}: {error.message}"
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
