"""Chains as the application wires them: by settings, watched by metrics."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.bad_provider import OPENAI, always, bad_provider, refusal
from tests.fakes.models import says
from tidings.app import build
from tidings.app.pieces import Ground, chains_of, chosen_model
from tidings.domain.errors import InvalidInput
from tidings.health.metrics import Metrics
from tidings.models.chain import Chain
from tidings.models.faults import ModelFault
from tidings.models.planner import Planner
from tidings.models.port import unseen
from tidings.settings import Settings, load
from tidings.storage.backups import DATABASE_FILE
from tidings.storage.hot.memory import LocalHints
from tidings.storage.warm.clock import StoreClock
from tidings.storage.warm.sqlite import SqliteDatabase
from tidings.system import SystemClock, UlidSource


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")


async def close(ground: Ground) -> None:
    assert isinstance(ground.database, SqliteDatabase)
    await ground.database.close()


def test_requests_faults_and_breakers_are_counted(tmp_path: Path) -> None:
    async def scenario() -> str:
        wanted = always(lambda protocol: refusal(protocol, 401, "bad_key", "No"))
        async with bad_provider(wanted) as server:
            ground = ground_of(tmp_path, model=f"openai:m@{server.base_url(OPENAI)},planner")
            chain = chosen_model(ground, chains_of(ground))
            for _ in range(5):
                with pytest.raises(ModelFault):
                    await chain.respond(says("x"), unseen)
            await close(ground)
            return ground.metrics.render().decode()

    lines = asyncio.run(scenario()).splitlines()
    asked = 'tidings_model_requests_total{model="openai:m",outcome="model_auth_failed"} 5.0'
    assert asked in lines
    assert 'tidings_model_breaker{model="openai:m",state="open"} 1.0' in lines
    assert 'tidings_model_breaker{model="openai:m",state="closed"} 0.0' in lines
    assert 'tidings_model_breaker{model="tidings:planner",state="closed"} 1.0' in lines


def test_without_a_model_the_planner_is_asked_without_a_chain(tmp_path: Path) -> None:
    ground = ground_of(tmp_path)
    assert isinstance(chosen_model(ground, chains_of(ground)), Planner)
    asyncio.run(close(ground))


def test_the_limits_on_silence_are_settings(tmp_path: Path) -> None:
    ground = ground_of(tmp_path, model="ollama:m@http://127.0.0.1:9/v1", model_gap_seconds=7.0)
    chain = chosen_model(ground, chains_of(ground))
    assert isinstance(chain, Chain)
    assert (chain._rules.times.first_byte, chain._rules.times.gap) == (30.0, 7.0)
    asyncio.run(close(ground))
    with pytest.raises(InvalidInput, match="TIDINGS_MODEL_GAP_SECONDS"):
        load({"model_gap_seconds": 0}, {})


def test_a_chain_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        build(load({"data_dir": tmp_path, "model": "planner,openai:m"}, {}))
    assert refused.value.code == "model_unknown"


def ground_of(path: Path, **chosen: object) -> Ground:
    hints = LocalHints()
    database = SqliteDatabase.open(path / DATABASE_FILE, hints.publish)
    settings: Settings = load({"data_dir": path} | chosen, {})
    clock = StoreClock(SystemClock())
    return Ground(settings, clock, UlidSource(clock), hints, database, Metrics())
