"""What processes count together, on the server of the hot tier; without it, each for itself."""

from tidings.domain.errors import Unavailable
from tidings.resilience.rates import Allowance
from tidings.storage.hot.line import Line
from tidings.storage.hot.memory import LocalOnce, LocalRates
from tidings.storage.hot.seal import Seal

KEY_PREFIX = b"tidings:"
CLAIM_SECONDS = 600

_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local interval, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local busy_until = tonumber(redis.call('GET', KEYS[1]) or now)
local after = math.max(now, busy_until) + interval
if after - now > seconds + 0.000001 then return tostring(after - now - seconds) end
local millis = math.ceil((after - now) * 1000)
redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', millis)
return '0'
"""
_GIVE_BACK = """
local busy_until = tonumber(redis.call('GET', KEYS[1]) or 0)
if busy_until > 0 then
  redis.call('SET', KEYS[1], string.format('%.6f', busy_until - ARGV[1]), 'KEEPTTL')
end
return 0
"""
_CLAIM = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local newest = tonumber(redis.call('GET', KEYS[1]) or 0)
local claim = string.format('%.0f', math.max(now, newest + 1))
redis.call('SET', KEYS[1], claim, 'EX', ARGV[1])
return claim
"""


class SharedOnce:
    """One first use among all processes; in this process also when the server forgets."""

    def __init__(self, line: Line, seal: Seal, local: LocalOnce) -> None:
        self._line = line
        self._seal = seal
        self._local = local

    async def first(self, key: str, seconds: float) -> bool:
        if not await self._local.first(key, seconds):
            return False
        name, millis = KEY_PREFIX + self._seal.name("once", key), round(seconds * 1000)
        try:
            return await self._line.ask("SET", name, "1", "NX", "PX", millis) is not None
        except Unavailable:
            return True


class SharedRates:
    """Rates over all processes. What this process alone has counted too often is not asked for."""

    def __init__(self, line: Line, seal: Seal, local: LocalRates) -> None:
        self._line = line
        self._seal = seal
        self._local = local

    async def take(self, allowance: Allowance, key: str) -> float:
        if wait := await self._local.take(allowance, key):
            return wait
        name = self._name(allowance, key)
        try:
            answer = await self._line.ask(
                "EVAL", _TAKE, 1, name, allowance.interval, allowance.seconds
            )
        except Unavailable:
            return 0.0
        if wait := float(answer):
            await self._local.give_back(allowance, key)
        return wait

    async def give_back(self, allowance: Allowance, key: str) -> None:
        await self._local.give_back(allowance, key)
        try:
            await self._line.ask(
                "EVAL", _GIVE_BACK, 1, self._name(allowance, key), allowance.interval
            )
        except Unavailable:
            return  # it counts for longer than it should, until it is forgotten

    def _name(self, allowance: Allowance, key: str) -> bytes:
        return KEY_PREFIX + self._seal.name("rate", allowance.name, key)


class SharedPrecedence:
    """Numbers claims by the server's clock, and keeps them for CLAIM_SECONDS."""

    def __init__(self, line: Line, seal: Seal) -> None:
        self._line = line
        self._seal = seal

    async def claim(self, key: str) -> int:
        return int(await self._line.ask("EVAL", _CLAIM, 1, self._name(key), CLAIM_SECONDS))

    async def newest(self, keys: list[str]) -> list[int]:
        if not keys:
            return []
        answers = await self._line.ask("MGET", *map(self._name, keys))
        return [int(answer or 0) for answer in answers]

    def _name(self, key: str) -> bytes:
        return KEY_PREFIX + self._seal.name("claim", key)
