"""The domains of a deployment: those made for it, and those that people bring. Pure.

    <slug>-git-<sha7>-<workspace>         COMMIT, stays with one deployment; without a commit: <slug>-<hash>-<workspace>
    <slug>-git-<branch>-<workspace>       BRANCH, the newest deployment of a branch
    <slug>-<environment>-<workspace>      ENVIRONMENT, what is live there
    <slug>-<workspace>                    LIVE, what is live in production

A label is written like that only when it then says exactly what it was made from. Otherwise (a part was cut, or
slugging changed it) eight characters of a hash over everything it was made from stand before the workspace. No label
without a hash contains anything that looks like one, so the two sorts never meet.

What hyphens join cannot always be told apart again: `foo` in `bar-qux` and `foo-bar` in `qux` both want
`foo-bar-qux`. A hostname belongs to whoever had it first; who comes second takes the `alternative`.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import idna

from lifecycle import hosts
from lifecycle.errors import Code, LifecycleError, shown
from lifecycle.models import Durable

_LABEL_LENGTH = 63
# Leaves eight characters before the hash, so that a long workspace does not hide the project.
_WORKSPACE_LENGTH = 45
_SHA7 = re.compile(r"[0-9a-f]{7}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
# A hash begins with a letter, so a date in a branch (`release-20261121`) does not look like one.
_HASH = re.compile(r"(?:^|-)[a-f][0-9a-f]{7}(?:-|$)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL = frozenset({"localhost", "local", "test"})
# `example` is missing on purpose: documentation and rehearsals use it, and nobody can own it.
_RESERVED = _LOCAL | {"alt", "arpa", "internal", "invalid", "onion"}


class Kind(StrEnum):
    """What a domain follows."""

    COMMIT = "commit"
    BRANCH = "branch"
    ENVIRONMENT = "environment"
    LIVE = "live"
    CUSTOM = "custom"

    @property
    def follows_live(self) -> bool:
        """Whether it shows what is live in its environment, and so stays where it is while a rollback pins that."""
        return self in {Kind.ENVIRONMENT, Kind.LIVE, Kind.CUSTOM}


class Name(Durable):
    """One domain of a deployment.

    Attributes:
        alternative: the hostname to use when `hostname` is taken: by another project, or in this project by another
            kind or another `sticky`. Its hash covers the project and `sticky` too.
        sticky: what it follows: a branch, an environment, or for COMMIT the one deployment it never leaves. A second
            deployment of the same commit finds the hostname taken, so it gets the alternative.
    """

    kind: Kind
    hostname: str
    alternative: str
    sticky: str


class _Pattern(NamedTuple):
    """How one name is put together.

    Attributes:
        words: stand between slug and workspace.
        subject: what the hash tells apart.
        is_plain: whether it may do without a hash.
    """

    kind: Kind
    words: tuple[str, ...]
    subject: str
    sticky: str
    is_plain: bool = True


def generated(
    *,
    project: str,
    slug: str,
    workspace: str,
    environment: str,
    branch: str | None,
    commit_sha: str | None,
    deployment: str,
    apex: str,
) -> tuple[Name, ...]:
    """The domains that are made for a deployment; the same for the same arguments, always.

    Args:
        project: its id; only the alternatives depend on it.
        slug: of the project.
        workspace: its name, any text.
        environment: `production` or `preview`.
        branch: any text.
        commit_sha: in full; any text is borne.
        deployment: its id.
        apex: the domain below which they all are.
    """
    commit = (commit_sha or "").lower()
    patterns = [
        _Pattern(Kind.COMMIT, ("git", commit[:7]), commit, deployment, is_plain=_COMMIT.fullmatch(commit) is not None)
        if commit
        else _Pattern(Kind.COMMIT, (), deployment, deployment, is_plain=False)
    ]
    if branch:
        patterns.append(
            _Pattern(Kind.BRANCH, ("git", branch), branch, branch, is_plain=_SHA7.fullmatch(branch) is None)
        )
    patterns.append(_Pattern(Kind.ENVIRONMENT, (environment,), environment, environment))
    if environment == "production":
        patterns.append(_Pattern(Kind.LIVE, (), environment, environment))
    return tuple(_name(one, project=project, slug=slug, workspace=workspace, apex=apex) for one in patterns)


def is_local(hostname: str, *, apex: str) -> bool:
    """Whether it names the machine or network of whoever asks, so the gateway is not told of it.

    Names below the apex are ours even when the apex is `localhost`.
    """
    host = _normal(hostname)
    if host.endswith(f".{_normal(apex)}"):
        return False
    address = _address(host)
    return host.rpartition(".")[2] in _LOCAL if address is None else address.is_loopback


def custom(text: str, *, apex: str) -> str:
    """A domain that somebody typed, as the DNS writes it: lower case, ASCII, no dot at the end.

    Raises:
        LifecycleError: DOMAIN_INVALID when it is no host name with two labels or more; DOMAIN_RESERVED when it is
            the apex, below it, or one that nobody can own.
    """
    typed = text.strip()
    if problem := _mistake(typed):
        raise _invalid(typed, problem)
    try:
        domain = idna.encode(typed, uts46=True, std3_rules=True).decode("ascii").removesuffix(".")
    except UnicodeError as error:
        problem = str(error)
        raise _invalid(typed, problem[:1].lower() + problem[1:]) from error
    labels = domain.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        raise _invalid(typed, "its last part is a number, as in an IP address")
    if f".{domain}".endswith(f".{_normal(apex)}") or labels[-1] in _RESERVED:
        raise LifecycleError(Code.DOMAIN_RESERVED, domain=shown(domain), field="domain")
    if len(labels) == 1:
        raise _invalid(typed, "it has only one part; write it out, as in shop.example.com")
    return domain


def _name(pattern: _Pattern, *, project: str, slug: str, workspace: str, apex: str) -> Name:
    parts = (slug, *pattern.words, workspace)
    identity = (pattern.kind, slug, workspace, pattern.subject)
    plain = "-".join(parts)
    says_it_all = (
        pattern.is_plain
        and all(part and part == _slugged(part) for part in parts)
        and len(plain) <= _LABEL_LENGTH
        and not _HASH.search(plain)
    )
    label = plain if says_it_all else _hashed(parts, _hash(identity))
    return Name(
        kind=pattern.kind,
        hostname=f"{label}.{_normal(apex)}",
        alternative=f"{_hashed(parts, _hash((*identity, project, pattern.sticky)))}.{_normal(apex)}",
        sticky=pattern.sticky,
    )


def _hashed(parts: Sequence[str], digest: str) -> str:
    """The parts with the hash before the last, in the length of a label; rather the front is cut than the last."""
    *front, workspace = (_slugged(part) for part in parts)
    end = "-".join(filter(None, (digest, workspace[:_WORKSPACE_LENGTH].rstrip("-"))))
    start = "-".join(filter(None, front))[: _LABEL_LENGTH - len(end) - 1].rstrip("-")
    return "-".join(filter(None, (start, end)))


def _hash(identity: Sequence[str]) -> str:
    # JSON keeps the parts apart whatever they contain, and bears every text.
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return "abcdef"[int(digest[8:16], 16) % 6] + digest[1:8]


def _slugged(text: str) -> str:
    """Letters, digits and single hyphens inside: what any label may have, and no `xn--`."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")


def _normal(hostname: str) -> str:
    return hostname.lower().removesuffix(".")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _mistake(typed: str) -> str | None:
    """What is wrong with it that deserves better words than IDNA has."""
    if not typed:
        return "it is empty"
    if _address(typed) is not None:
        return "an IP address is no domain"
    if "*" in typed:
        return "wildcards are not routed; add each host name"
    if any(sign in typed for sign in "/:@?#"):
        return hosts.too_much(typed)
    return None


def _invalid(typed: str, problem: str) -> LifecycleError:
    return LifecycleError(Code.DOMAIN_INVALID, domain=shown(typed), problem=shown(problem), field="domain")
