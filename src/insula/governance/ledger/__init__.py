"""The shared tenant ledger: what a tenant may use in a period, set aside, lent and settled to the token."""

from insula.governance.ledger.answer import (
    Claimed,
    Closed,
    Donated,
    Drawn,
    Exhausted,
    Full,
    Held,
    Opened,
    Refusal,
    Settled,
    Stale,
    Ticked,
)
from insula.governance.ledger.keeper import keep_ledgers
from insula.governance.ledger.ledgers import Ledgers
from insula.governance.ledger.period import Budget
from insula.governance.ledger.pool import TenantPool
from insula.governance.ledger.reservation import State
from insula.governance.ledger.standing import LedgerStanding
from insula.governance.ledger.tenant_ledger import TenantLedger

__all__ = [
    "Budget",
    "Claimed",
    "Closed",
    "Donated",
    "Drawn",
    "Exhausted",
    "Full",
    "Held",
    "LedgerStanding",
    "Ledgers",
    "Opened",
    "Refusal",
    "Settled",
    "Stale",
    "State",
    "TenantLedger",
    "TenantPool",
    "Ticked",
    "keep_ledgers",
]
