"""The refusals about certificates and their authorities."""

from collections.abc import Mapping

from lifecycle.errors.codes import Code, Row

CERTIFICATES: Mapping[Code, Row] = {
    Code.CERTIFICATE_NAMES_MISSING: Row(
        422, "No name was given for the certificate.", "Give at least one host name, such as www.example.com."
    ),
    Code.CERTIFICATE_NAME_INVALID: Row(
        422,
        "{name} cannot be in a certificate: {problem}.",
        "Give a full host name such as www.example.com, or a wildcard such as *.example.com.",
    ),
    Code.CERTIFICATE_NAME_TOO_LONG: Row(
        422, "{name} is too long for a certificate: {problem}.", "Use a shorter name, or a wildcard above it."
    ),
    Code.CERTIFICATE_NAME_PUBLIC_SUFFIX: Row(
        422,
        "{name} is a public suffix, below which names are registered.",
        "Give the name that you registered below it, such as example.com.",
    ),
    Code.CERTIFICATE_NAME_NOT_PUBLIC: Row(
        422,
        "{name} is not known in the public Internet, so a public CA cannot vouch for it.",
        "Use a public name, or a CA of your own network.",
    ),
    Code.CERTIFICATE_ADDRESS_NOT_OFFERED: Row(
        422,
        "{name} is an IP address, and the CA does not certify these under this profile.",
        "Use a host name, or a profile and CA that offer IP addresses.",
    ),
    Code.CERTIFICATE_TOO_MANY_NAMES: Row(
        422,
        "The certificate would have {count} names; the CA allows {limit} under this profile.",
        "Spread the names over several certificates, or use wildcards.",
    ),
    Code.CERTIFICATE_CHALLENGE_UNFIT: Row(
        422,
        "Control of {name} cannot be proved with {challenge}.",
        "Use dns-01 for wildcards; for IP addresses http-01 or tls-alpn-01.",
    ),
    Code.CERTIFICATE_PROFILE_UNKNOWN: Row(
        422, "The CA has no profile {profile}.", "{offered} Without a profile the CA chooses."
    ),
    Code.AUTHORITIES_MISSING: Row(
        409,
        "No certificate authority is set up.",
        "Name one in the file of LIFECYCLE_CERTIFICATES_FILE, and restart API and workers.",
    ),
    Code.AUTHORITY_UNKNOWN: Row(
        404,
        "There is no certificate authority {authority} to order from.",
        "Choose from: {authorities}. 'lifecycle authority list' shows them.",
    ),
    Code.AUTHORITY_NOT_ACME: Row(
        409,
        "What answers for the certificate authority {authority} is no ACME directory: {problem}.",
        "Mend its directory_url in the file of LIFECYCLE_CERTIFICATES_FILE, and restart API and workers.",
    ),
    Code.AUTHORITY_UNAVAILABLE: Row(
        503,
        "The certificate authority {authority} cannot be asked: {problem}.",
        "Repeat in a minute; 'lifecycle authority show {authority}' says how it is.",
    ),
    Code.AUTHORITY_REFUSED: Row(
        409,
        "The certificate authority {authority} refused: {problem}.",
        "Look at what it says; 'lifecycle authority show {authority}' says how our account there stands.",
    ),
    Code.AUTHORITY_BINDING: Row(
        409,
        "The account at {authority} cannot be bound: {problem}.",
        "Put key_id and hmac_key_file, as the CA gave them, into the binding of this authority in the file of "
        "LIFECYCLE_CERTIFICATES_FILE.",
    ),
    Code.AUTHORITY_ACCOUNT_DEACTIVATED: Row(
        409,
        "Our account at {authority} was deactivated.",
        "'lifecycle authority roll-over {authority}' begins a new one, with a new key.",
    ),
    Code.CERTIFICATE_ZONE_MISSING: Row(
        422,
        "No zone of ours holds {record}.",
        "Set a CNAME from the _acme-challenge name into a zone of ours, or add the zone to the certificates file.",
    ),
    Code.CERTIFICATE_ZONE_CREDENTIALS: Row(
        422,
        "TXT records cannot be published in the zone {zone}: {problem}.",
        "Mend the zone in the certificates file, or the file that it names; the worker must be able to read both.",
    ),
    Code.CERTIFICATE_NOT_FOUND: Row(
        404, "There is no certificate for {domain}.", "List what there is with 'lifecycle cert list'."
    ),
    Code.CERTIFICATE_DOMAIN_UNPROVEN: Row(
        409,
        "Nobody of this workspace has proved here that {domain} is theirs.",
        "Add it to a project with 'lifecycle domain add', and set the records that are shown.",
    ),
    Code.CERTIFICATE_TAKEN: Row(
        409,
        "{domain} belongs to somebody else.",
        "If the domain is yours, prove it: add it to your project, and set the TXT record that it shows.",
    ),
    Code.CERTIFICATE_ISSUING: Row(
        409,
        "A certificate for {domain} is being issued.",
        "Wait until it is, or give it up with 'lifecycle cert halt {domain}'.",
    ),
    Code.CERTIFICATE_NOT_ISSUING: Row(
        409, "No certificate for {domain} is being issued.", "Look at it with 'lifecycle cert show {domain}'."
    ),
    Code.CERTIFICATE_NAME_LOST: Row(
        409,
        "The certificate of {domain} is renewed no more, because {names} belongs to somebody else now.",
        "Ask for a certificate without that name: 'lifecycle cert issue'.",
    ),
    Code.CERTIFICATE_NOT_ISSUED: Row(
        409, "{domain} has no certificate yet.", "'lifecycle cert show {domain}' says why, and when it is tried again."
    ),
    Code.CERTIFICATE_REVOKED: Row(
        409,
        "The certificate of {domain} was revoked at {at}.",
        "Have another one issued with 'lifecycle cert renew {domain}'. A chain is still given by its version.",
    ),
    Code.CERTIFICATE_VERSION_NOT_FOUND: Row(
        404, "{domain} has no certificate with the number {version}.", "'lifecycle cert show {domain}' lists them."
    ),
    Code.CERTIFICATE_UNUSABLE: Row(
        409,
        "The gateway cannot serve the certificate of {domain}: {problem}.",
        "What was served before stays; it is tried again by itself, and the log of the worker has the details.",
    ),
    Code.CERTIFICATE_BUDGET: Row(
        409,
        "{domain} has got two certificates of late; the next may be issued at {until}.",
        "Wait, or repeat with 'force' (--force) when it cannot wait; the limits of the CA stay.",
    ),
    Code.CERTIFICATE_VALIDATION_PAUSE: Row(
        409,
        "The CA could not validate {domain}; it may be tried again at {until}.",
        "Mend what 'lifecycle cert preflight' shows, and wait; or repeat with 'force' (--force), which costs one of "
        "five tries.",
    ),
    Code.CERTIFICATE_RENEWAL_NOT_SCHEDULED: Row(
        409, "No renewal of {domain} is scheduled.", "Renew it with 'lifecycle cert renew {domain}'."
    ),
    Code.CERTIFICATE_RENEWAL_TOO_LATE: Row(
        422,
        "{domain} must be renewed by {latest}; later, a failure could no longer be mended in time.",
        "Choose an earlier time.",
    ),
    Code.CERTIFICATE_GENERATION_MISMATCH: Row(
        412,
        "Generation {expected} was asked for; the renewal of {domain} is at generation {generation}.",
        "Somebody changed it meanwhile: read it again, and repeat with the new generation if you still want it.",
    ),
}
