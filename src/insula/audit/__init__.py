"""Append-only, hash-chained records of what was done and what was refused."""

from insula.audit.chain import VerifyReport
from insula.audit.log import PLATFORM, AuditLog, HeadStore
from insula.audit.record import AuditRecord, Outcome

__all__ = ["PLATFORM", "AuditLog", "AuditRecord", "HeadStore", "Outcome", "VerifyReport"]
