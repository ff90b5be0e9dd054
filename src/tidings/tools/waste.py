"""What is paid for nothing: failed and retried requests, and prompts asked twice."""

from tidings.analysis.record import Dimension
from tidings.domain.facts import Column, Table, ToolResult, Unit
from tidings.tools.data import (
    Computed,
    ModelName,
    Top,
    UsageData,
    Where,
    costed,
    first_row,
    grouped,
    heading,
    missing_for_cost,
    price_notes,
    table,
)
from tidings.tools.port import ToolContext
from tidings.tools.spend import COST, REQUESTS

_FAILED_WORDS = (
    "('error', 'failed', 'failure', 'fail', 'timeout', 'timed_out', 'cancelled', 'canceled', "
    "'rate_limited', 'false')"
)
FAILED = (
    "(coalesce(lower(error_code) not in ('0', 'none', 'ok', 'false'), false) "
    f"or coalesce(lower(status) in {_FAILED_WORDS}, false) "
    "or coalesce(try_cast(status as integer) >= 400, false))"
)
RETRIED = "coalesce(attempt > 1, false)"


class Waste:
    """The tools about money that buys nothing."""

    def __init__(self, data: UsageData) -> None:
        self._data = data

    async def errors_and_retries(
        self,
        ctx: ToolContext,
        dimension: Dimension = Dimension.ERROR_CODE,
        where: Where = (),
        assume_model: ModelName | None = None,
        top: Top = 20,
    ) -> ToolResult:
        """Which requests failed, how many were repeated attempts, and what both cost.

        The table counts failed requests by the dimension; their share is of all requests.
        """
        selection = await self._data.select(ctx, where, assume_model)
        has_failures = bool(selection.has("status") or selection.has("error_code"))
        if not has_failures and not selection.has("attempt"):
            selection.require("status", "error_code", "attempt")
        if dimension is not Dimension.ERROR_CODE:
            selection.require(dimension)
        pricing = self._data.pricing(selection)
        statement = costed(selection, pricing, _errors_sql(dimension, top))
        rows = await self._data.ask(selection, statement, top + 1)
        totals = first_row(rows, selection)[4:]
        requests, failed, failed_usd, retried, retry_usd, reported, priced = totals
        count = int(requests or 0)
        columns = [
            heading(dimension),
            REQUESTS,
            Column("share", Unit.RATIO, "share of all requests"),
            COST,
        ]
        failures = {
            "failed_requests": (failed, Unit.REQUESTS, "failed requests"),
            "failed_share": (int(failed or 0) / count, Unit.RATIO, "share of requests that failed"),
            "failed_cost_usd": (failed_usd, Unit.USD, "cost of failed requests"),
        }
        retries = {
            "retried_requests": (retried, Unit.REQUESTS, "repeated attempts"),
            "retry_cost_usd": (retry_usd, Unit.USD, "cost of repeated attempts"),
        }
        found = table(columns, rows, top)
        return Computed(
            summary=f"Failed requests by {dimension}, repeated attempts, and what both cost.",
            statement=str(statement),
            rows=count,
            scalars={
                **(failures if has_failures else {}),
                **(retries if selection.has("attempt") else {}),
            },
            table=Table(found.columns, tuple(r for r in found.rows if r[1]), found.truncated),
            notes=price_notes(
                selection, pricing, counted=count, priced=priced, reported=reported
            ),
            missing=selection.absent("status", "error_code", "attempt")
            + missing_for_cost(selection),
        ).result(ctx, "errors_and_retries")  # fmt: skip

    async def duplicate_requests(
        self,
        ctx: ToolContext,
        dimension: Dimension = Dimension.FEATURE,
        where: Where = (),
        assume_model: ModelName | None = None,
        top: Top = 20,
    ) -> ToolResult:
        """Requests whose exact prompt the same feature had sent to the same model before.

        Counted by `prompt_hash`; the first of equal requests is no duplicate. Repeated attempts are
        left out: errors_and_retries counts them.
        """
        selection = await self._data.select(ctx, where, assume_model)
        selection.require("prompt_hash")
        if dimension is not Dimension.FEATURE:
            selection.require(dimension)
        pricing = self._data.pricing(selection)
        statement = costed(selection, pricing, _duplicates_sql(dimension, top))
        rows = await self._data.ask(selection, statement, top + 1)
        totals = first_row(rows, selection)[5:]
        requests, duplicates, usd, prompts, reported, priced, unhashed = totals
        count = int(requests or 0)
        notes = price_notes(selection, pricing, counted=count, priced=priced, reported=reported)
        if unhashed:
            notes.append(f"{unhashed:,} requests have no prompt_hash and are left out.")
        columns = [
            heading(dimension),
            REQUESTS,
            Column("duplicates", Unit.REQUESTS, "duplicates"),
            Column("share", Unit.RATIO, "share of the group's requests"),
            Column("cost_usd", Unit.USD, "cost of the duplicates"),
        ]
        return Computed(
            summary=f"Requests that repeat an earlier one exactly, by {dimension}.",
            statement=str(statement),
            rows=count,
            scalars={
                "duplicates": (duplicates, Unit.REQUESTS, "duplicates"),
                "duplicate_share": (
                    int(duplicates or 0) / count if count else None,
                    Unit.RATIO,
                    "share of requests that are duplicates",
                ),
                "duplicate_cost_usd": (usd, Unit.USD, "cost of duplicates"),
                "distinct_prompts": (prompts, Unit.COUNT, "distinct prompts"),
            },
            table=table(columns, rows, top),
            notes=notes,
            missing=missing_for_cost(selection),
        ).result(ctx, "duplicate_requests")


def _errors_sql(dimension: Dimension, top: int) -> str:
    return (
        f", marked as (select *, {FAILED} as failed, {RETRIED} as retried from costed), "
        "overall as (select count(*) as requests, count(*) filter (failed) as failed, "
        f"{_cost_of('failed')} as failed_usd, count(*) filter (retried) as retried, "
        f"{_cost_of('retried')} as retry_usd, count(cost_reported) as reported, "
        "count(cost_usd) as priced from marked), "
        f"groups as (select {grouped(dimension)}, count(*) as n, sum(cost_usd) as cost_usd "
        "from marked where failed group by 1) "
        f"select g.{dimension}, g.n, g.n / o.requests as share, g.cost_usd, o.* "
        "from overall o left join groups g on true where o.requests > 0 "
        f"order by g.n desc nulls last, 1 limit {top + 1}"
    )


def _cost_of(mark: str) -> str:
    """Return the SQL of the cost of marked requests: of none it is nothing, which is a number."""
    return f"case when count(*) filter ({mark}) = 0 then 0 else sum(cost_usd) filter ({mark}) end"


def _duplicates_sql(dimension: Dimension, top: int) -> str:
    """Only requests whose key occurs twice are put in order: that is what takes time."""
    return (
        ", keyed as not materialized (select *, hash(prompt_hash, model, feature) as key "
        f"from costed where prompt_hash is not null and not {RETRIED}), "
        "repeated as (select key from (select hash(prompt_hash, model, feature) as key "
        f"from requests where prompt_hash is not null and not {RETRIED}) "
        "group by key having count(*) > 1), "
        "later as (select * from (select k.*, row_number() over "
        "(partition by key order by ts nulls last, request_id) as place "
        "from keyed k semi join repeated using (key)) where place > 1), "
        f"found as (select {grouped(dimension)}, count(*) as duplicates, sum(cost_usd) as usd "
        "from later group by 1), "
        f"groups as (select {grouped(dimension)}, count(*) as n, count(cost_reported) as reported, "
        "count(cost_usd) as priced from keyed group by 1) "
        f"select {dimension}, g.n, coalesce(f.duplicates, 0) as duplicates, "
        "coalesce(f.duplicates, 0) / g.n as share, "
        "case when f.duplicates is null then 0 else f.usd end as usd, "
        "sum(g.n) over ()::bigint as requests, "
        "sum(coalesce(f.duplicates, 0)) over ()::bigint as all_duplicates, "
        "case when sum(f.duplicates) over () is null then 0 "
        "else sum(f.usd) over () end as all_usd, "
        "sum(g.n - coalesce(f.duplicates, 0)) over ()::bigint as prompts, "
        "sum(g.reported) over ()::bigint as reported, sum(g.priced) over ()::bigint as priced, "
        "(select count(*) from requests where prompt_hash is null) as unhashed "
        f"from groups g left join found f using ({dimension}) "
        f"order by coalesce(f.usd, 0) desc, 3 desc, 1 limit {top + 1}"
    )
