"""Keys, signed context, credentials: who is asking, and how each layer knows."""

from insula.identity.audience import Audience, Gateway, Runs, Sandboxes, Storage, Usage
from insula.identity.authority import Authority
from insula.identity.context import VerifiedContext, require
from insula.identity.credentials import Credential, Credentials, Issued, Principal
from insula.identity.keys import SigningKeys
from insula.identity.refusal import OnRefusal, Refusal, audited
from insula.identity.renewing import RenewingToken
from insula.identity.scopes import OPERATOR_SCOPES, SCOPES, TENANT_SCOPES, Scope, scopes_table
from insula.identity.sealer import Sealer
from insula.identity.verifier import Verifier

__all__ = [
    "OPERATOR_SCOPES",
    "SCOPES",
    "TENANT_SCOPES",
    "Audience",
    "Authority",
    "Credential",
    "Credentials",
    "Gateway",
    "Issued",
    "OnRefusal",
    "Principal",
    "Refusal",
    "RenewingToken",
    "Runs",
    "Sandboxes",
    "Scope",
    "Sealer",
    "SigningKeys",
    "Storage",
    "Usage",
    "VerifiedContext",
    "Verifier",
    "audited",
    "require",
    "scopes_table",
]
