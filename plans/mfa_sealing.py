"""Second factors at rest: the seeds of one-time passwords are sealed before they are stored."""

from allauth.mfa.adapter import DefaultMFAAdapter

from plans.sealed_secrets import open_sealed, seal
from upgradeconsole.sealing import is_sealed


class SealingMFAAdapter(DefaultMFAAdapter):
    """Seals what allauth stores of TOTP and recovery codes; what is older is still understood."""

    def encrypt(self, text: str) -> str:
        """Return the text as it is stored."""
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return what was stored; `rotate_keys` seals what was stored plainly."""
        return open_sealed(encrypted_text) if is_sealed(encrypted_text) else encrypted_text
