"""Usage and cost with the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

One row a day for each provider, model, app and agent, and one a month for each part of a shared cost. What
FOCUS has no column for stands in columns of our own, which begin with ``x_`` as it asks. The columns that it
makes mandatory are all here; of the conditional ones those that a platform for model calls can fill. Unit
prices, commitments, capacity, regions and availability zones are not.

Amounts are exact decimals, as text: nothing is rounded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta

from insula.kernel.money import usd
from insula.usage.invoice import SharedLine
from insula.usage.period import Month
from insula.usage.row import UsageRow

FOCUS_VERSION = "1.2"
PLATFORM = "Insula"

FocusRow = dict[str, str | None]

COLUMNS = (
    *("BillingAccountId", "BillingAccountName", "BillingAccountType", "SubAccountId", "SubAccountName"),
    *("SubAccountType", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd"),
    *("ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeClass", "ChargeFrequency"),
    *("ChargeDescription", "BilledCost", "EffectiveCost", "ListCost", "ContractedCost"),
    *("PricingCategory", "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit"),
    *("ServiceCategory", "ServiceSubcategory", "ServiceName", "ProviderName", "PublisherName"),
    *("InvoiceIssuerName", "InvoiceId", "SkuId", "SkuMeter", "ResourceId", "ResourceType", "Tags"),
    *("x_Calls", "x_InputTokens", "x_CacheReadTokens", "x_CacheWriteTokens", "x_OutputTokens"),
    *("x_ReasoningTokens", "x_QuotaTokens", "x_EstimatedCalls", "x_UnpricedCalls"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """A day's calls of one kind to one provider's model, by one app and agent, added up in ``row``."""

    kind: str
    provider: str
    row: UsageRow


def direct_row(tenant: str, month: Month, group: Group) -> FocusRow:
    """Return the FOCUS row of ``group``."""
    row = group.row
    assert row.day is not None and row.model is not None
    day = date.fromisoformat(row.day)
    quantity, unit = _quantity(group)
    return _complete(
        _envelope(tenant, month)
        | _cost(row.cost_nanousd)
        | {
            "ChargePeriodStart": _midnight(day),
            "ChargePeriodEnd": _midnight(day + timedelta(days=1)),
            "ChargeCategory": "Usage",
            "ChargeFrequency": "Usage-Based",
            "ChargeDescription": f"{row.calls} calls to {row.model} of {group.provider}",
            "PricingCategory": "Standard",
            "PricingQuantity": str(quantity),
            "PricingUnit": unit,
            "ConsumedQuantity": str(quantity),
            "ConsumedUnit": unit,
            "ServiceCategory": "AI and Machine Learning",
            "ServiceSubcategory": "Generative AI",
            "ServiceName": "Model inference",
            "ProviderName": group.provider,
            "PublisherName": group.provider,
            "SkuId": f"{group.provider}/{row.model}",
            "SkuMeter": group.kind,
            "ResourceId": row.agent,
            "ResourceType": "Agent" if row.agent else None,
            "Tags": json.dumps({"app": row.app, "agent": row.agent, "model": row.model}),
            "x_Calls": str(row.calls),
            "x_InputTokens": str(row.input_tokens),
            "x_CacheReadTokens": str(row.cache_read_tokens),
            "x_CacheWriteTokens": str(row.cache_write_tokens),
            "x_OutputTokens": str(row.output_tokens),
            "x_ReasoningTokens": str(row.reasoning_tokens),
            "x_QuotaTokens": str(row.quota_tokens),
            "x_EstimatedCalls": str(row.estimated_calls),
            "x_UnpricedCalls": str(row.unpriced_calls),
        }
    )


def shared_row(tenant: str, month: Month, line: SharedLine) -> FocusRow:
    """Return the FOCUS row of a tenant's part of a shared cost."""
    return _complete(
        _envelope(tenant, month)
        | _cost(line.nanousd)
        | {
            "ChargePeriodStart": _midnight(month.first),
            "ChargePeriodEnd": _midnight(month.next.first),
            "ChargeCategory": "Purchase",
            "ChargeFrequency": "Recurring",
            "ChargeDescription": f"Part of {line.cost.name}, shared by {line.cost.by}",
            "PricingQuantity": "1",
            "PricingUnit": "Months",
            "ServiceCategory": "Other",
            "ServiceName": line.cost.name,
            "ProviderName": PLATFORM,
            "PublisherName": PLATFORM,
            "SkuId": f"shared/{line.cost.name}",
            "Tags": "{}",
        }
    )


def _envelope(tenant: str, month: Month) -> FocusRow:
    return {
        "BillingAccountId": PLATFORM.lower(),
        "BillingAccountName": PLATFORM,
        "BillingAccountType": "Platform",
        "SubAccountId": tenant,
        "SubAccountName": tenant,
        "SubAccountType": "Tenant",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _midnight(month.first),
        "BillingPeriodEnd": _midnight(month.next.first),
        "InvoiceIssuerName": PLATFORM,
        "InvoiceId": f"{tenant}/{month}",
    }


def _cost(nanousd: int) -> FocusRow:
    """Return the four costs: there are no discounts and no commitments, so they are one figure."""
    return dict.fromkeys(("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"), usd(nanousd))


def _quantity(group: Group) -> tuple[int, str]:
    row = group.row
    tokens = row.input_tokens + row.output_tokens
    return (tokens, "Tokens") if group.kind in {"llm", "embedding"} else (row.calls, "Requests")


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _complete(given: FocusRow) -> FocusRow:
    assert given.keys() <= set(COLUMNS)
    return {name: given.get(name) for name in COLUMNS}
