"""ACME (RFC 8555): what is asked of a certificate authority, one HTTP request a function.

The only importer of the `acme` library. Functions block, so they run in threads, and none of them waits or polls: what
comes next is for the caller to decide. Each answers with one of `lifecycle.certs.verdicts` and never raises for what
a CA or the network does. The first call of a CA also reads its directory and a nonce.

A key is an argument and never part of an answer. Every order can be resumed from its URL.
"""

from lifecycle.certs.acme.accounts import (
    Binding,
    deactivate_account,
    find_account,
    new_account,
    read_account,
    read_directory,
    roll_over,
)
from lifecycle.certs.acme.certificates import Reason, download, read_renewal_info, revoke
from lifecycle.certs.acme.orders import (
    answer,
    deactivate_authorization,
    finalize,
    new_order,
    read_authorization,
    read_order,
    read_orders,
)
from lifecycle.certs.acme.proofs import (
    dns_value,
    key_authorization,
    tls_alpn_certificate,
    validation_name,
)
from lifecycle.certs.acme.signing import Signer
from lifecycle.certs.acme.wire import CertificateAuthority

__all__ = [
    "Binding",
    "CertificateAuthority",
    "Reason",
    "Signer",
    "answer",
    "deactivate_account",
    "deactivate_authorization",
    "dns_value",
    "download",
    "finalize",
    "find_account",
    "key_authorization",
    "new_account",
    "new_order",
    "read_account",
    "read_authorization",
    "read_directory",
    "read_order",
    "read_orders",
    "read_renewal_info",
    "revoke",
    "roll_over",
    "tls_alpn_certificate",
    "validation_name",
]
