"""The planted truths of a generated workload are found, each within one percent."""

import io
from pathlib import Path
from random import Random

import pytest

from tests.tools.workshop import Workshop, rows, scalars, with_log
from tidings.analysis.workload import ATTEMPTS_MAX, generate, planted, write_csv

REQUESTS = 6_000


def test_the_planted_truths_are_found_within_one_percent(tmp_path: Path) -> None:
    requests = generate(Random(7), REQUESTS)
    truth = planted(requests)
    log = io.StringIO()
    write_csv(requests, log)

    async def scenario(tools: Workshop) -> None:
        of_dear = [{"field": "feature", "equals": truth.dear_feature}]
        spent = rows(await tools.call("spend_by", dimensions=["feature", "model"]))
        [dear] = [
            r for r in spent if (r["feature"], r["model"]) == (truth.dear_feature, truth.dear_model)
        ]
        assert dear["requests"] == truth.dear_requests
        assert dear["cost_usd"] == pytest.approx(truth.dear_usd, rel=0.01)

        swap = scalars(await tools.call("reprice", to_model=truth.cheap_model, where=of_dear))
        assert swap["saving_usd"] == pytest.approx(truth.dear_saving_usd, rel=0.01)
        assert swap["quality_target"] == pytest.approx(swap["quality_current"], abs=0.02)
        assert swap["quality_loss_least"] < 0 < swap["quality_loss_most"] < 0.02

        of_sensitive = [{"field": "feature", "equals": truth.sensitive_feature}]
        worse = scalars(
            await tools.call("reprice", to_model=truth.sensitive_cheap_model, where=of_sensitive)
        )
        assert worse["quality_target"] < worse["quality_current"] - 0.1

        found = await tools.call("duplicate_requests")
        assert scalars(found)["duplicates"] == truth.duplicates
        assert scalars(found)["duplicate_cost_usd"] == pytest.approx(truth.duplicate_usd, rel=0.01)
        [repeating] = [r for r in rows(found) if r["feature"] == truth.duplicate_feature]
        assert repeating["share"] == pytest.approx(0.18, abs=0.03)
        assert repeating["duplicates"] == truth.duplicates

        failed = await tools.call("errors_and_retries", dimension="feature")
        assert scalars(failed)["retried_requests"] == truth.retries
        assert scalars(failed)["retry_cost_usd"] == pytest.approx(truth.retry_usd, rel=0.01)
        assert rows(failed)[0]["feature"] == truth.retry_feature

    with_log(tmp_path, log.getvalue(), scenario)


def test_the_same_seed_gives_the_same_workload() -> None:
    assert generate(Random(1), 300) == generate(Random(1), 300)
    assert generate(Random(1), 300) != generate(Random(2), 300)


def test_a_workload_looks_like_a_week_of_work() -> None:
    requests = generate(Random(3), 4_000)
    hours = [int(r.ts[11:13]) for r in requests if r.batch == "false"]
    assert sum(9 <= hour < 18 for hour in hours) > len(hours) / 2
    assert [r.ts for r in requests] == sorted(r.ts for r in requests)
    assert max(r.attempt for r in requests) == ATTEMPTS_MAX
    assert all(r.cached_input_tokens <= r.input_tokens for r in requests)
    sizes = sorted(r.input_tokens for r in requests if r.feature == "code_assist")
    assert sizes[-1] > 5 * sizes[len(sizes) // 2]
