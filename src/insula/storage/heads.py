"""Where hash chains are anchored: the last sequence number and hash of each, apart from the chains."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table, select
from sqlalchemy.dialects.sqlite import insert

from insula.storage.control import ControlDatabase

_METADATA = MetaData()
_HEADS = Table(
    "chain_heads",
    _METADATA,
    Column("chain", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String, nullable=False),
)


class SqlHeads:
    """Heads of chains in the control database."""

    def __init__(self, control: ControlDatabase) -> None:
        self._control = control
        control.create(_METADATA)

    def get(self, chain: str) -> tuple[int, str] | None:
        """Return (sequence number, hash) of the last anchored record; ``None`` for an unknown chain."""
        with self._control.read() as connection:
            row = connection.execute(
                select(_HEADS.c.seq, _HEADS.c.hash).where(_HEADS.c.chain == chain)
            ).one_or_none()
        return None if row is None else (row.seq, row.hash)

    def put(self, chain: str, seq: int, digest: str) -> None:
        """Anchor a head, durably."""
        statement = insert(_HEADS).values(chain=chain, seq=seq, hash=digest)
        with self._control.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["chain"], set_={"seq": seq, "hash": digest})
            )

    def chains(self) -> tuple[str, ...]:
        with self._control.read() as connection:
            return tuple(connection.execute(select(_HEADS.c.chain).order_by(_HEADS.c.chain)).scalars())
