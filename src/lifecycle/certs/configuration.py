"""Which certificate authorities there are, whom DNS questions go to, and who keeps which zone: a TOML file.

    resolvers = ["127.0.0.1:53"]

    [[authority]]
    name = "letsencrypt"
    directory_url = "https://acme-v02.api.letsencrypt.org/directory"
    contact = ["mailto:ops@example.com"]
    staging = "letsencrypt-staging"

    [[zone]]
    name = "example.com"
    provider = "rfc2136"
    server = "192.0.2.53:53"
    key_name = "lifecycle"
    key_file = "/etc/lifecycle/example.com.key"

Secrets are never in this file; it names the files that they are in.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lifecycle import mistakes

_URL = re.compile(r"https://[^\s]+")
_PLANS: Mapping[str, Literal["letsencrypt", "letsencrypt-staging"]] = MappingProxyType(
    {
        "acme-v02.api.letsencrypt.org": "letsencrypt",
        "acme-staging-v02.api.letsencrypt.org": "letsencrypt-staging",
    }
)

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Server = Annotated[str, Field(pattern=r"^(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$")]


class _Section(BaseModel):
    """What is misspelt is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AccountBinding(_Section):
    """An account that we have at the CA outside of ACME (RFC 8555, section 7.3.4).

    Attributes:
        hmac_key_file: holds the key in base64url, as CAs give it.
    """

    key_id: str = Field(min_length=1)
    hmac_key_file: Path
    algorithm: Literal["HS256", "HS384", "HS512"] = "HS256"


class Authority(_Section):
    """One certificate authority.

    Attributes:
        name: ours for it; part of the account's record, so it stays.
        directory_url: where its ACME directory is.
        trust_file: PEM of the authorities for its own HTTPS; those of the `certifi` package without one.
        contact: URLs for its notices.
        binding: where it requires one.
        profile: asked for unless a request names another; None leaves the choice to the CA.
        preferred_chain: common name of an issuer; of several chains the one that has it is taken.
        staging: name of the authority where the first order of a name is rehearsed.
        rehearsal_only: only others' rehearsals go here.
        internal: whether it certifies names and addresses that only a private network knows.
        addresses: whether it certifies IP addresses, for a CA whose profiles we do not know.
        http_port: where it looks for answers to http-01; public CAs take no other than 80.
        tls_port: where it looks for answers to tls-alpn-01; public CAs take no other than 443.
        limits: whose rate limits it has; without it those of Let's Encrypt for its directories, and none for others.
    """

    name: Name
    directory_url: Annotated[str, Field(pattern=_URL.pattern)]
    trust_file: Path | None = None
    contact: tuple[str, ...] = ()
    binding: AccountBinding | None = None
    profile: str | None = None
    preferred_chain: str | None = None
    staging: Name | None = None
    rehearsal_only: bool = False
    internal: bool = False
    addresses: bool = False
    http_port: Port = 80
    tls_port: Port = 443
    limits: Literal["letsencrypt", "letsencrypt-staging", "none"] | None = None

    @property
    def plan(self) -> Literal["letsencrypt", "letsencrypt-staging", "none"]:
        """Whose rate limits it has."""
        if self.limits is not None:
            return self.limits
        return _PLANS.get(urlsplit(self.directory_url).hostname or "", "none")


class Zone(_Section):
    """A DNS zone in which we may publish TXT records.

    Attributes:
        name: of the zone, without a dot at the end; names below it are in it, unless a longer one fits.
        provider: `rfc2136`, or the name of one of the providers of the optional package dns-lexicon.
        server: for `rfc2136`: whom updates go to.
        key_name: for `rfc2136`: of the TSIG key.
        key_file: for `rfc2136`: holds the TSIG secret in base64.
        key_algorithm: for `rfc2136`.
        credentials_file: for others: `name=value` lines, as dns-lexicon names them.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]([a-z0-9_.-]*[a-z0-9])?$")]
    provider: str = "rfc2136"
    server: Server | None = None
    key_name: str | None = None
    key_file: Path | None = None
    key_algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    credentials_file: Path | None = None


class Certificates(_Section):
    """The whole file.

    Attributes:
        resolvers: whom DNS questions go to, `host:port`; those of the system when there are none.
        authority: in order of preference.
        zone: those we may publish in.
    """

    resolvers: tuple[Server, ...] = ()
    authority: tuple[Authority, ...] = ()
    zone: tuple[Zone, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for kind, names in (
            ("authorities", [one.name for one in self.authority]),
            ("zones", [z.name for z in self.zone]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"two {kind} have the same name")
        known = {one.name for one in self.authority}
        for one in self.authority:
            if one.staging is not None and (one.staging not in known or one.staging == one.name):
                raise ValueError(f"the staging authority of {one.name}, {one.staging}, is not in the file")
        return self


def read(path: Path | None) -> Certificates:
    """What the file says; nothing without a file.

    Raises:
        ValueError: it cannot be read, or says something that means nothing; the text says where.
    """
    if path is None:
        return Certificates()
    try:
        return Certificates.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path}: {place + ': ' if place else ''}{mistakes.detail(first)}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
