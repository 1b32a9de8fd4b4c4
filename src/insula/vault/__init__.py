"""Keys and secrets: the barrier, the keyring, the tenants' sealed spaces."""

from insula.vault.barrier import Barrier, Unsealable
from insula.vault.keyring import Keyring, ShredReceipt
from insula.vault.rootkey import open_root_key
from insula.vault.secrets import PlatformSecrets, SecretText
from insula.vault.spaces import DestroyReceipt, TenantSpaces

__all__ = [
    "Barrier",
    "DestroyReceipt",
    "Keyring",
    "PlatformSecrets",
    "SecretText",
    "ShredReceipt",
    "TenantSpaces",
    "Unsealable",
    "open_root_key",
]
