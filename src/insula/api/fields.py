"""Fields and parameters that many routes share: strict, bounded, and named for what they are."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from fastapi import Header, Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from insula.kernel import ids
from insula.tenancy import Tier, Trust

T = TypeVar("T")

_LABEL = r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"
_LABEL_SCHEMA = {"type": "string", "pattern": _LABEL, "maxLength": 48}
_RUN_SCHEMA = {"type": "string", "pattern": "^run_[0-9abcdefghjkmnpqrstvwxyz]{26}$"}

TenantField = Annotated[str, AfterValidator(ids.tenant_id), WithJsonSchema(_LABEL_SCHEMA)]
AgentField = Annotated[str, AfterValidator(ids.agent_name), WithJsonSchema(_LABEL_SCHEMA)]
AppField = Annotated[str, AfterValidator(ids.app_name), WithJsonSchema(_LABEL_SCHEMA)]

TenantPath = Annotated[
    ids.TenantId,
    Path(description="The tenant's id."),
    AfterValidator(ids.tenant_id),
    WithJsonSchema(_LABEL_SCHEMA),
]
AppPath = Annotated[
    ids.AppName,
    Path(description="The application's name."),
    AfterValidator(ids.app_name),
    WithJsonSchema(_LABEL_SCHEMA),
]
AgentPath = Annotated[
    ids.AgentName,
    Path(description="The agent's name."),
    AfterValidator(ids.agent_name),
    WithJsonSchema(_LABEL_SCHEMA),
]
RunPath = Annotated[
    ids.RunId, Path(description="The run's id."), AfterValidator(ids.run_id), WithJsonSchema(_RUN_SCHEMA)
]
NamePath = Annotated[str, Path(min_length=1, max_length=200)]
LabelPath = Annotated[str, Path(max_length=200), WithJsonSchema(_LABEL_SCHEMA)]
CursorQuery = Annotated[
    str | None, Query(max_length=200, description="`next` of the page before; leave it out for the first.")
]
LimitQuery = Annotated[int, Query(ge=1, le=200, description="Items on a page, at most.")]
IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="A repeat with the same key and body does nothing new and gets the first answer.",
    ),
]
TIERS = {
    "type": "string",
    "enum": [tier.value for tier in Tier],
    "description": "How strongly it is isolated.",
}
TierWord = Annotated[str, Field(max_length=40), WithJsonSchema(TIERS)]
TierQuery = Annotated[str, Query(max_length=40), WithJsonSchema(TIERS)]
TrustQuery = Annotated[
    str | None,
    Query(max_length=40),
    WithJsonSchema({"type": "string", "enum": [trust.value for trust in Trust]}),
]
DayQuery = Annotated[
    str | None,
    Query(max_length=40),
    WithJsonSchema({"type": "string", "format": "date", "description": "A UTC day; included."}),
]
ModelId = Annotated[
    str,
    Field(min_length=1, max_length=128),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$"}),
]
LabelField = Annotated[str, Field(max_length=48), WithJsonSchema(_LABEL_SCHEMA)]
Name = Annotated[str, Field(min_length=1, max_length=80)]
Stamp = Annotated[str, Field(description="RFC 3339, UTC.")]


class Body(BaseModel):
    """What a caller sends: unknown fields are refused, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True)


class View(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(extra="forbid")


class Page(View, Generic[T]):
    """One page of a list; ``next`` is the cursor of the following page, ``null`` at the end."""

    items: list[T]
    next: str | None = None


class Gone(View):
    """The name of what was removed."""

    removed: str
