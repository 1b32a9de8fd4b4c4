"""Runtimes: read-only Python environments."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import (
    Body,
    CursorQuery,
    IdempotencyHeader,
    LabelField,
    LabelPath,
    LimitQuery,
    Page,
    View,
)
from insula.api.paging import paged
from insula.runtimes import Runtime

router = APIRouter(tags=["runtimes"])
Reader = Annotated[Caller, Depends(needs("runtimes:read"))]
Writer = Annotated[Caller, Depends(needs("runtimes:write"))]


class RuntimeCreate(Body):
    """A runtime to build."""

    name: LabelField
    requirements: Annotated[
        str, Field(max_length=200_000, description="Text of a pip requirements file; wheels only.")
    ] = ""


class RuntimeView(View):
    """A built runtime."""

    name: str
    digest: str
    python: str
    packages: list[str]

    @classmethod
    def of(cls, runtime: Runtime) -> Self:
        """Return the view of ``runtime``."""
        return cls(
            name=runtime.name, digest=runtime.digest, python=runtime.python, packages=list(runtime.packages)
        )


@router.post("/runtimes", status_code=201)
def build(body: RuntimeCreate, who: Writer, _key: IdempotencyHeader = None) -> RuntimeView:
    """Build a runtime; answers when it is there, which can take minutes. The name then means the new one."""
    made = who.platform.runtimes.build(body.name, body.requirements)
    who.audit("platform", "runtime.built", made.name, digest=made.digest)
    return RuntimeView.of(made)


@router.get("/runtimes")
def list_(who: Reader, cursor: CursorQuery = None, limit: LimitQuery = 50) -> Page[RuntimeView]:
    """List the runtimes by name."""
    items, following = paged(who.platform.runtimes.list(), lambda item: item.name, cursor, limit)
    return Page(items=[RuntimeView.of(item) for item in items], next=following)


@router.get("/runtimes/{name}")
def get(name: LabelPath, who: Reader) -> RuntimeView:
    """Return a runtime and its packages."""
    return RuntimeView.of(who.platform.runtimes.get(name))
