"""Bring the books that an earlier version wrote to the tables of this one, in one transaction.

Nothing is thrown away: events get the columns they lack, with the values that say "nothing of this kind";
daily totals are carried over; hourly totals, which did not exist, are added up from the events.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, inspect
from sqlalchemy.schema import CreateColumn

from insula.usage.adapters.tables import DAILY, EVENTS, HOURLY, KEY, METADATA
from insula.usage.event import UNPRICED
from insula.usage.row import SUMS

_OLD_DAILY = "usage_daily_without_apps"


def bring_up(connection: Connection) -> None:
    """Create what is missing and fill it from what is there. Does nothing to books of this version."""
    there = set(inspect(connection).get_table_names())
    without_apps = DAILY.name in there and "app_id" not in _columns(connection, DAILY)
    without_hours = EVENTS.name in there and HOURLY.name not in there
    if without_apps:
        connection.exec_driver_sql(f"ALTER TABLE {DAILY.name} RENAME TO {_OLD_DAILY}")
        there.remove(DAILY.name)
    for table in METADATA.tables.values():
        if table.name in there:
            _add_columns(connection, table)
    METADATA.create_all(connection)
    for table in METADATA.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    if without_apps:
        _carry_days_over(connection)
    if without_hours:
        _add_up_hours(connection)


def _columns(connection: Connection, table: Table) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(table.name)}


def _add_columns(connection: Connection, table: Table) -> None:
    known = _columns(connection, table)
    for column in table.columns:
        if column.name not in known:
            text = CreateColumn(column).compile(connection)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {text}")


def _carry_days_over(connection: Connection) -> None:
    old = {column["name"] for column in inspect(connection).get_columns(_OLD_DAILY)}
    names = ", ".join(("tenant_id", "day", "agent_id", "model_id", *(name for name in SUMS if name in old)))
    connection.exec_driver_sql(
        f"INSERT INTO {DAILY.name} (app_id, {names}) SELECT '', {names} FROM {_OLD_DAILY}"  # noqa: S608
    )
    connection.exec_driver_sql(f"DROP TABLE {_OLD_DAILY}")


def _add_up_hours(connection: Connection) -> None:
    connection.exec_driver_sql(
        f"INSERT INTO {HOURLY.name} ({', '.join(('hour', *KEY, *SUMS))}) {hours_of_events()}"
    )


def hours_of_events() -> str:
    """Return the SELECT that adds up all events by hour: ``hour``, ``KEY``, ``SUMS``."""
    sums = ", ".join(f"sum({name})" for name in SUMS[1:-2])
    return (
        "SELECT CAST(timestamp AS INTEGER) / 3600 AS hour, tenant_id, ifnull(app_id, ''), "  # noqa: S608
        f"ifnull(agent_id, ''), model_id, count(*), {sums}, sum(usage_source <> 'provider'), "
        f"sum(price_version = '{UNPRICED}') FROM {EVENTS.name} GROUP BY 1, 2, 3, 4, 5"
    )
