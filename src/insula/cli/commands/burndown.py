"""``limit explain``: what a call takes from its provider's quota, and beside it what it costs."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from insula.cli import show
from insula.cli.place import Place
from insula.kernel.errors import InvalidRequest

if TYPE_CHECKING:
    from insula.governance.burndown import Burn, Burndown

_MOST = 10**12
_PRICED_AS = {"gemini": "google"}
_Count = dict[str, int]


def register(noun: typer.Typer) -> None:
    """Add ``insula limit explain``."""
    noun.command("explain")(explain)


def explain(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model id, in any provider's spelling.")],
    read: Annotated[
        int, typer.Option("--input", metavar="N", min=0, max=_MOST, help="All input, cached or not.")
    ],
    output: Annotated[
        int, typer.Option(metavar="N", min=0, max=_MOST, help="Output; for a hold, max_tokens.")
    ],
    cache_read: Annotated[
        int, typer.Option(metavar="N", min=0, max=_MOST, help="Part of the input that a cache served.")
    ] = 0,
    cache_write: Annotated[
        int, typer.Option(metavar="N", min=0, max=_MOST, help="Part of the input that a cache stored.")
    ] = 0,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="aws, anthropic, openai, azure, gemini, …")
    ] = None,
    endpoint: Annotated[
        str, typer.Option(metavar="KIND", help="bedrock-runtime or bedrock-mantle; others have one kind.")
    ] = "*",
    on: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="The day whose rates count; today, UTC.")
    ] = None,
) -> None:
    """Show what a call takes from the provider's quota, line by line, and what it costs. Needs no platform.

    Without --provider: the strictest of the providers that serve the model or its family.
    """
    from insula.governance.burndown import load
    from insula.settings import load as settings

    place: Place = ctx.obj
    counts = _counts(read, cache_read, cache_write, output)
    day = _day(on)
    table = load(settings().burndown)
    found = [
        _explained(table, at, kind, model, day, counts)
        for at, kind in _places(table, model, provider, endpoint)
    ]
    found.sort(key=lambda one: -one["quota"])
    told = found[0] | {"elsewhere": [_brief(one) for one in found[1:]]}
    show.as_json(told) if place.as_json else _print(told)


def _counts(read: int, cache_read: int, cache_write: int, output: int) -> _Count:
    if cache_read + cache_write > read:
        raise InvalidRequest(
            f"{cache_read + cache_write} tokens cached of {read} read",
            hint="--input is all input, the cached parts included",
            field="input",
        )
    return {
        "input": read,
        "uncached": read - cache_read - cache_write,
        "cache_read": cache_read,
        "cache_write": cache_write,
        "output": output,
    }


def _day(given: str | None) -> date:
    if given is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise InvalidRequest(
            f"{given[:40]!r} is not a day", hint="write --on 2026-05-28", field="on"
        ) from None


def _places(table: Burndown, model: str, provider: str | None, endpoint: str) -> list[tuple[str, str]]:
    if provider is not None:
        return [(provider, endpoint)]
    places = [place for place in table.places(model) if endpoint in {"*", place[1]}]
    return places or [("unknown", endpoint)]


def _explained(
    table: Burndown, provider: str, endpoint: str, model: str, day: date, counts: _Count
) -> dict[str, Any]:
    burn = table.find(provider, endpoint, model, day)
    rates = {
        "uncached": burn.input,
        "cache_read": burn.cache_read,
        "cache_write": burn.cache_write,
        "output": burn.output,
    }
    lines = [
        {"tokens": name, "count": counts[name], "rate_milli": rate, "product_milli": counts[name] * rate}
        for name, rate in rates.items()
    ]
    parts = (counts["input"], counts["cache_read"], counts["cache_write"])
    return {
        "model": model,
        "provider": provider,
        "endpoint": endpoint,
        "on": day.isoformat(),
        "lines": lines,
        "sum_milli": sum(line["product_milli"] for line in lines if isinstance(line["product_milli"], int)),
        "quota": burn.quota(*parts, counts["output"]),
        "input_side": burn.input_side(*parts),
        "output_side": burn.output_side(counts["output"]),
        "assumed": burn.assumed,
        "warning": burn.warning,
        "row": _row(burn),
        "money": _money(provider, model, day, counts),
    }


def _row(burn: Burn) -> dict[str, str]:
    return {
        "version": burn.version,
        "source": burn.source,
        "confidence": burn.confidence.value,
        "effective_from": burn.effective_from.isoformat(),
        "checked_on": burn.checked_on.isoformat(),
    }


def _money(provider: str, model: str, day: date, counts: _Count) -> dict[str, Any]:
    """Return the price of the same call, which has nothing to do with its quota."""
    from insula.kernel.clock import ManualClock
    from insula.kernel.money import usd
    from insula.usage import PriceBook, Tokens

    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    tokens = Tokens(
        input=counts["input"],
        cache_read=counts["cache_read"],
        cache_write=counts["cache_write"],
        output=counts["output"],
    )
    name = _PRICED_AS.get(provider, provider)
    nano, version = PriceBook(ManualClock(noon)).cost_nanousd(name, model, tokens)
    priced = version != "unpriced"
    return {"usd": usd(nano) if priced else None, "nanousd": nano if priced else None, "prices": version}


def _brief(one: dict[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in ("provider", "endpoint", "quota", "assumed")}


def _print(told: dict[str, Any]) -> None:
    kind = "" if told["endpoint"] == "*" else f", {told['endpoint']}"
    show.line(f"{told['model']} at {told['provider']}{kind}, rates of {told['on']}")
    show.line("")
    for line in told["lines"]:
        name = line["tokens"].replace("_", " ")
        show.line(
            f"  {name:<12}{line['count']:>16,} x {_milli(line['rate_milli']):>7}"
            f" = {_milli(line['product_milli']):>20}"
        )
    show.line(f"  {'sum':<12}{'':>26} = {_milli(told['sum_milli']):>20}")
    show.line(f"  {'quota tokens':<12}{'rounded up':>26} = {told['quota']:>20,}")
    show.line(f"  {'':<12}{'of a limit on input':>26} = {told['input_side']:>20,}")
    show.line(f"  {'':<12}{'of a limit on output':>26} = {told['output_side']:>20,}")
    show.line("")
    row, money = told["row"], told["money"]
    cost = "no price known" if money["usd"] is None else f"${money['usd']} ({money['prices']})"
    show.facts(
        {
            "row": row["version"],
            "since": row["effective_from"],
            "source": row["source"],
            "confidence": f"{row['confidence']}, checked on {row['checked_on']}",
            "money": f"{cost}; priced by itself, not by quota",
        }
    )
    for other in told["elsewhere"]:
        at = other["provider"] if other["endpoint"] == "*" else f"{other['provider']}, {other['endpoint']}"
        show.line(f"elsewhere   {other['quota']:,} at {at}{' (assumed)' if other['assumed'] else ''}")
    if told["elsewhere"]:
        show.say("the strictest place is shown; name one with --provider and --endpoint")
    if told["warning"]:
        show.say(f"warning: {told['warning']}")


def _milli(milli: int) -> str:
    """Return thousandths as a decimal, with no more places than it has."""
    whole, rest = divmod(milli, 1_000)
    return f"{whole:,}" + (f".{rest:03d}".rstrip("0") if rest else "")
