"""The barrier: everything the platform keeps secret at rest passes through it.

AES-256-GCM with a random 96-bit nonce under the root key; the associated data binds each secret to what it
is for, so a sealed value moved to another place does not open. Source: NIST SP 800-38D (8.2.2: at most
2**32 seals a key).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from insula.kernel.entropy import token_bytes
from insula.kernel.errors import OperatorError

KEY_BYTES = 32
_VERSION = b"\x01"
_NONCE = 12


class Unsealable(OperatorError):
    """The bytes were sealed under another root key, for another purpose, or were changed."""

    code = "unsealable"


class Barrier:
    """Seals and unseals under one root key (32 bytes). Implements identity's ``Sealer``."""

    __slots__ = ("_aead", "_root")

    def __init__(self, root_key: bytes) -> None:
        assert len(root_key) == KEY_BYTES
        self._root = root_key
        self._aead = AESGCM(self.subkey("seal"))

    def seal(self, aad: bytes, plaintext: bytes) -> bytes:
        """Return version, nonce and ciphertext; 29 bytes longer than ``plaintext``."""
        nonce = token_bytes(_NONCE)
        return _VERSION + nonce + self._aead.encrypt(nonce, plaintext, _VERSION + aad)

    def unseal(self, aad: bytes, sealed: bytes) -> bytes:
        """Return the plaintext. Raises ``Unsealable``."""
        nonce, ciphertext = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            if sealed[:1] != _VERSION or len(nonce) != _NONCE:
                raise InvalidTag
            return self._aead.decrypt(nonce, ciphertext, _VERSION + aad)
        except InvalidTag:
            raise Unsealable(
                "a sealed value does not open: it was changed, moved, or sealed under another root key",
                hint="restore root.key, keys.db and control.db from one backup",
            ) from None

    def subkey(self, purpose: str) -> bytes:
        """Return 32 bytes derived for ``purpose`` (HKDF-SHA256): for keys that need no shredding."""
        return HKDF(SHA256(), KEY_BYTES, None, f"insula 1 {purpose}".encode()).derive(self._root)

    def __repr__(self) -> str:
        return "<Barrier ***>"

    def __reduce_ex__(self, _protocol: object) -> str:
        raise TypeError("a barrier cannot be pickled")
