"""What the errors of certificate authorities mean, for people who never read RFC 8555. Pure."""

import re
from collections.abc import Mapping
from types import MappingProxyType

# As `certs.endings.message` begins what it says of a problem; its kind is that of RFC 8555, section 6.7.
_PROBLEM = re.compile(r"The CA said ([A-Za-z]+)\b")
_SILENT = "The CA did not answer"
# As `certs.authorities.budget` says why an order waits.
_LIMITED = re.compile(r"the CA said so of |the limit .* is used up:")

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "connection": "The authority could not reach the domain. See that it leads to the gateway, and that port 80 or "
        "443 is open to everybody.",
        "dns": "The authority could not look the domain up. See whether its DNS servers answer.",
        "dnssec": "The signatures of the domain's DNS are not valid. Mend DNSSEC where the domain is registered.",
        "tls": "The authority could not speak TLS with the domain. See that port 443 leads to the gateway.",
        "caa": "A CAA record of the domain does not let this authority issue. Change the record, or take another "
        "authority.",
        "incorrectResponse": "The authority found something else than it looked for. See that the domain leads to the "
        "gateway and to nothing else, or that its TXT record is the one that was wanted.",
        "unauthorized": "The authority is not convinced that the domain is ours, or does not let our account do this.",
        "rateLimited": "The authority lets no more through for now; it goes on by itself when the limit allows.",
        "rejectedIdentifier": "The authority does not issue for this name at all.",
        "unsupportedIdentifier": "The authority does not issue for names of this kind.",
        "serverInternal": "Something is wrong at the authority. Nothing has to be done here.",
        "userActionRequired": "The authority wants a person to act on our account, such as agreeing to new terms.",
        "accountDoesNotExist": "The authority does not know our account any more.",
        "externalAccountRequired": "The authority wants an account that is bound to one of its own; set 'binding' in "
        "the file of authorities.",
        "alreadyRevoked": "The certificate is revoked already.",
    }
)


def meaning(error: str) -> str | None:
    """What an error means and what to do; None where it says all there is to say.

    Args:
        error: as the certificate shows it.
    """
    if error.startswith(_SILENT):
        return "The authority did not answer. Nothing has to be done here, unless it stays so."
    if _LIMITED.match(error):
        return MEANINGS["rateLimited"]
    found = _PROBLEM.match(error)
    return MEANINGS.get(found[1]) if found else None
