"""All tools over usage data."""

from tidings.analysis.library import Library
from tidings.analysis.prices import PriceList
from tidings.analysis.sandbox.pool import Sandbox
from tidings.domain.permissions import Effect
from tidings.tools.calculate import calculate
from tidings.tools.chart import chart
from tidings.tools.data import UsageData
from tidings.tools.describe import Describe
from tidings.tools.distribution import Distribution
from tidings.tools.port import Tool, tool
from tidings.tools.query import OwnQuery
from tidings.tools.spend import Spend
from tidings.tools.swap import Swap
from tidings.tools.waste import Waste


def usage_tools(library: Library, sandbox: Sandbox, prices: PriceList) -> tuple[Tool, ...]:
    """Return the tools; each reads only files of the user for whom it is called."""
    data = UsageData(library, sandbox, prices)
    spend, spread, waste = Spend(data), Distribution(data), Waste(data)
    functions = (
        Describe(data).describe_data,
        spend.spend_by,
        spend.spend_over_time,
        spread.token_distribution,
        spread.latency_by,
        waste.errors_and_retries,
        waste.duplicate_requests,
        Swap(data).reprice,
        OwnQuery(data).query,
        chart,
        calculate,
    )
    return tuple(tool(effect=Effect.READ)(function) for function in functions)
