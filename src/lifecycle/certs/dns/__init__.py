"""DNS: questions, and TXT records that prove control of a name (RFC 8555, section 8.4).

The only user of dnspython and of dns-lexicon. What servers answer is a verdict, with a sentence for people; nothing
here waits or repeats.
"""

from lifecycle.certs.dns.answers import Absent, Endpoint, Found, NameServer, NameServers, Trouble, Unresolved
from lifecycle.certs.dns.publishing import Home, Publisher
from lifecycle.certs.dns.resolver import Resolver
from lifecycle.certs.dns.verdicts import (
    NotVisible,
    Published,
    Reason,
    Removed,
    Unpublishable,
    Unreachable,
    Visible,
)

__all__ = [
    "Absent",
    "Endpoint",
    "Found",
    "Home",
    "NameServer",
    "NameServers",
    "NotVisible",
    "Published",
    "Publisher",
    "Reason",
    "Removed",
    "Resolver",
    "Trouble",
    "Unpublishable",
    "Unreachable",
    "Unresolved",
    "Visible",
]
