"""Cancel links: one sealed token that can cancel one generation of one deletion, and nothing else.

The token needs no table: it is dead as soon as the generation has moved on, which its own use brings about.
"""

import base64
import binascii
from typing import NamedTuple

from lifecycle.errors import Code, LifecycleError
from lifecycle.vault import Vault, VaultError

_PURPOSE = "cancel-link"


class CancelLink(NamedTuple):
    """What a link may cancel."""

    workspace: str
    project: str
    generation: int


def url(vault: Vault, api_url: str, link: CancelLink) -> str:
    """The address that shows the cancel page of `link`."""
    plain = f"{link.workspace} {link.project} {link.generation}".encode()
    sealed = vault.seal(plain, bound_to=_PURPOSE).encode()
    return f"{api_url.rstrip('/')}/cancel/{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"


def parse(vault: Vault, token: str) -> CancelLink:
    """What the token may cancel.

    Raises:
        LifecycleError: `cancel_link_invalid` for anything this service did not seal.
    """
    try:
        sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        workspace, project, generation = vault.open(sealed, bound_to=_PURPOSE).decode().split(" ")
        return CancelLink(workspace, project, int(generation))
    except (VaultError, ValueError, binascii.Error) as error:
        raise LifecycleError(Code.CANCEL_LINK_INVALID) from error
