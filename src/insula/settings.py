"""Every setting of the platform in one typed tree.

Each may come from the environment as ``INSULA_<NAME>``; a command-line flag wins over it. All state
lies under ``home``: nothing else on the host is written, except locks for host uids under ``/run``
and the shared cache of runtimes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from insula.kernel.errors import Misconfigured
from insula.tenancy import Trust


def _cache_dir() -> Path:
    return Path("/var/cache/insula") if os.geteuid() == 0 else Path.home() / ".cache" / "insula"


class Settings(BaseSettings):
    """What an operator can set."""

    model_config = SettingsConfigDict(env_prefix="INSULA_", extra="ignore", frozen=True)

    home: Annotated[Path, Field(description="where all state lies")] = Path("~/.insula")
    cache: Annotated[
        Path, Field(description="built runtimes and assembled model weights, shared by homes of this host")
    ] = Field(default_factory=_cache_dir)
    host: Annotated[str, Field(description="address that the control plane and the gateway listen on")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535, description="port of the control plane; 0 picks one")] = 8420
    gateway_port: Annotated[int, Field(ge=0, le=65535, description="port of the gateway; 0 picks one")] = 8421
    trust: Annotated[
        Trust,
        Field(description="`saas`: tenants are strangers; `internal`: teams of one organisation"),
    ] = Trust.SAAS
    slots: Annotated[int, Field(ge=1, le=4096, description="sandboxes that run at the same time")] = 8
    local_model: Annotated[
        bool, Field(description="serve the small local model (needs the extra `local-model`)")
    ] = False
    uid_first: Annotated[int, Field(ge=1000, description="first host uid lent to a sandbox")] = 200_000
    uid_last: Annotated[int, Field(le=2**31, description="last host uid lent to a sandbox")] = 265_535
    drain_s: Annotated[
        float, Field(ge=0, description="seconds that running agents get to finish after SIGTERM")
    ] = 20.0
    prices: Annotated[
        Path | None, Field(description="TOML file of prices that stand above the list that comes along")
    ] = None
    burndown: Annotated[
        Path | None, Field(description="TOML file of burndown rates that stand above those that come along")
    ] = None
    limits_store: Annotated[
        str | None,
        Field(
            description="Valkey server that keeps limits for several gateways: unix:///PATH or "
            "valkey://HOST:PORT, several with commas between (needs the extra `valkey`)"
        ),
    ] = None
    gateways: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="gateways on `limits_store`: each keeps its part while that is away, "
            "and budgets wait for the records of all",
        ),
    ] = 1
    otlp_traces: Annotated[
        str | None,
        Field(description="OTLP/HTTP address for traces, ending in /v1/traces (needs the extra `tracing`)"),
    ] = None
    otlp_metrics: Annotated[
        str | None,
        Field(description="OTLP/HTTP address for metrics, ending in /v1/metrics (needs the extra `tracing`)"),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="least level that is logged")
    ] = "info"
    log_json: Annotated[bool, Field(description="log one JSON object a line")] = False

    def resolved(self) -> Settings:
        """Return a copy with ``home`` and ``cache`` absolute."""
        return self.model_copy(
            update={
                "home": self.home.expanduser().absolute(),
                "cache": self.cache.expanduser().absolute(),
            }
        )


def load(**overrides: object) -> Settings:
    """Return the settings: ``overrides`` that are not ``None`` over the environment over defaults.

    Raises ``Misconfigured`` naming the setting and its problem.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given).resolved()  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise Misconfigured(
            f"setting {name}: {first['msg']}",
            hint=f"correct --{name.replace('_', '-')} or INSULA_{name.upper()}",
            field=name,
        ) from None
    if settings.uid_first > settings.uid_last:
        raise Misconfigured(
            "setting uid_first is above uid_last", hint="give a range of free host uids", field="uid_first"
        )
    return settings
