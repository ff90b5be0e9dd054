"""The agents to choose among, as they are shown."""

import asyncio
from pathlib import Path

from tests.fakes.intake import intake_of, named_agents
from tests.fakes.ports import ManualClock
from tests.stores import store_in
from tidings.resilience.wellness import WELLNESS_RULES, Record
from tidings.router.choices import Choices


def test_one_that_fails_for_several_users_is_shown_as_unwell_until_it_is_tried_again(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock, agents = ManualClock(), named_agents("shaky", "analysis")
        database = store_in(tmp_path)
        _, lookout = intake_of(database, clock, agents)
        choices = Choices(agents, lookout, "analysis")
        lookout.agents = {"shaky": Record(ended=6, failed=6, users=2, failed_at=clock.now())}
        assert [(c["name"], c["well"]) for c in choices.shown()] == [
            ("analysis", True),
            ("shaky", False),
        ]
        clock.advance(WELLNESS_RULES.rest_seconds)
        assert [c["well"] for c in choices.shown()] == [True, True]
        assert [c["default"] for c in choices.shown()] == [True, False]
        await database.close()

    asyncio.run(scenario())
