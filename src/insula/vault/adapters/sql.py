"""Sealed platform secrets in the control database."""

from __future__ import annotations

from sqlalchemy import Column, LargeBinary, MetaData, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert

from insula.storage import ControlDatabase

_METADATA = MetaData()
_SECRETS = Table(
    "platform_secrets",
    _METADATA,
    Column("name", String, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)


class SqlSecretStore:
    """Implements ``SecretStore``."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_METADATA)

    def get(self, name: str) -> bytes | None:
        with self._control.read() as connection:
            return connection.execute(
                select(_SECRETS.c.sealed).where(_SECRETS.c.name == name)
            ).scalar_one_or_none()

    def put(self, name: str, sealed: bytes) -> None:
        statement = insert(_SECRETS).values(name=name, sealed=sealed)
        with self._control.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_={"sealed": sealed})
            )

    def delete(self, name: str) -> bool:
        with self._control.begin() as connection:
            return connection.execute(delete(_SECRETS).where(_SECRETS.c.name == name)).rowcount > 0

    def names(self) -> list[str]:
        with self._control.read() as connection:
            return list(connection.execute(select(_SECRETS.c.name)).scalars())
