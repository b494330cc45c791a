"""Every setting, its default and its bounds; the only reader of the environment.

Names in the environment are the field names in capitals after `LIFECYCLE_`. `docs/settings.md` is generated
from this file.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, IPvAnyAddress, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lifecycle.durations import Duration

Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """What can be set from outside."""

    model_config = SettingsConfigDict(
        env_prefix="LIFECYCLE_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: SecretStr = Field(
        default=SecretStr("mysql://lifecycle@127.0.0.1:3306/lifecycle"),
        description="MySQL 8 or MariaDB 10.11+: `mysql://user:password@host:port/name`.",
    )
    database_ca_file: Path | None = Field(
        default=None, description="CA certificates (PEM) of the database; when set, it must speak TLS and prove itself."
    )
    database_password_file: Path | None = Field(
        default=None, description="File with the password of the database, instead of one in the URL."
    )
    database_pool_size: int = Field(default=10, ge=1, le=200, description="Connections per process.")
    restate_ingress_url: str = Field(default="http://127.0.0.1:8080", description="The engine's ingress.")
    restate_admin_url: str = Field(default="http://127.0.0.1:9070", description="The engine's admin API; never public.")
    restate_identity_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Public keys (`publickeyv1_…`, comma separated) whose engine may call the worker. Empty: any.",
    )
    restate_identity_key_file: Path | None = Field(
        default=None, description="File with the same public keys, instead of the variable."
    )
    worker_host: str = Field(default="127.0.0.1", description="Address the worker listens on.")
    worker_port: Port = Field(default=9080, description="Port the worker listens on.")
    worker_public_url: str = Field(
        default="http://127.0.0.1:9080", description="URL under which the engine reaches the worker."
    )
    worker_register: bool = Field(
        default=True,
        description="Whether the worker registers itself; off where `lifecycle register` does it.",
    )
    api_host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    api_port: Port = Field(default=8000, description="Port the API listens on.")
    api_url: str = Field(
        default="http://127.0.0.1:8000",
        description="Public URL of the API: for links, and for the command line.",
    )
    api_key: SecretStr | None = Field(default=None, description="API key that the command line sends.")
    key_encryption_keys: SecretStr | None = Field(
        default=None,
        description="Key-encryption keys, one `name:base64` (32 bytes) a line; the first one seals.",
    )
    key_encryption_key_file: Path | None = Field(
        default=None, description="File with the same lines, instead of the variable."
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=8),
        ge=timedelta(milliseconds=100),
        le=timedelta(seconds=60),
        description="Longest wait for the engine or the database before a request is answered with 503.",
    )
    deletion_grace: Duration = Field(
        default=timedelta(hours=72), gt=timedelta(0), description="Grace when the request names none."
    )
    deletion_min_grace: Duration = Field(
        default=timedelta(hours=24),
        gt=timedelta(0),
        description="Shortest grace anybody may ask for; 1 s in `lifecycle dev`.",
    )
    deletion_max_grace: Duration = Field(default=timedelta(days=30), gt=timedelta(0), description="Longest grace.")
    deletion_release_notice: Duration = Field(
        default=timedelta(hours=24),
        ge=timedelta(0),
        description="Least time between the release of the last hold and an overdue deletion.",
    )
    deletion_expedite_floor: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(0),
        description="Least time that an expedited deletion leaves.",
    )
    deletion_overdue_after: Duration = Field(
        default=timedelta(seconds=5),
        gt=timedelta(0),
        description="How late a deletion may begin before the reconciler alarms.",
    )
    deletion_purge_budget: Duration = Field(
        default=timedelta(minutes=15),
        gt=timedelta(0),
        description="How long a purge may take before the reconciler alarms.",
    )
    purge_steps_at_once: int = Field(
        default=2, ge=1, le=100, description="Steps of purges that one worker carries out at a time."
    )
    reconciler_interval: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(milliseconds=100),
        description="Time between two sweeps of the reconciler.",
    )
    regions: str = Field(
        default="",
        description="Where instances run: `name=process:/folder` or `name=docker:unix:///var/run/docker.sock`, comma "
        "separated. The same for API and worker. Empty: nothing can be deployed.",
    )
    deploy_apex: str = Field(
        default="lifecycle.localhost",
        max_length=180,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
        description="Domain below which every deployment gets names of its own.",
    )
    platform_workspace: str | None = Field(
        default=None,
        max_length=200,
        description="Name of the workspace that acts for the whole installation: its administrators change accounts at "
        "certificate authorities and rotate the wrapping key, and it may have certificates for the apex and `*.` below "
        "it. Empty: nobody.",
    )
    deploy_ready_within: Duration = Field(
        default=timedelta(minutes=15), gt=timedelta(0), description="How long instances may take to be ready."
    )
    deploy_upload_within: Duration = Field(
        default=timedelta(hours=1), gt=timedelta(0), description="How long a rollout waits for its source."
    )
    deploy_source_folder: Path = Field(
        default=Path("/var/lib/lifecycle/sources"),
        description="Where uploaded sources wait and build logs are kept; shared by API and worker.",
    )
    deploy_largest_source: int = Field(
        default=512 * 1024 * 1024, ge=1024, description="Most bytes of an uploaded source."
    )
    deploy_standby: Duration = Field(
        default=timedelta(minutes=30),
        ge=timedelta(0),
        description="How long a deployment goes on running after it was replaced.",
    )
    domains_verify: bool = Field(
        default=True,
        description="Whether a custom domain is routed only after DNS records have proved whose it is; off in "
        "`lifecycle dev` unless it is set, because names have no DNS there.",
    )
    domains_certificates: bool = Field(
        default=True,
        description="Whether a certificate is asked for by itself as soon as a custom domain is verified and leads "
        "here; needs `LIFECYCLE_CERTIFICATES_FILE`.",
    )
    deploy_cname_target: str | None = Field(
        default=None,
        max_length=200,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$",
        description="Domain below which every project has a name that its custom domains point to by CNAME; its DNS "
        "has a wildcard that leads to the gateway. Empty: `cname.` and `LIFECYCLE_DEPLOY_APEX`.",
    )
    gateway_addresses: Annotated[tuple[IPvAnyAddress, ...], NoDecode] = Field(
        default=(),
        description="Public IP addresses of the gateway (comma separated), for custom domains that cannot have a "
        "CNAME. Empty: these need an ALIAS record.",
    )
    gateway_folder: Path | None = Field(
        default=None,
        description="Folder that HAProxy and the workers share: configuration, maps, sockets. Empty: no gateway.",
    )
    certificates_file: Path | None = Field(
        default=None,
        description="TOML file with certificate authorities, DNS resolvers and zones; see `docs/certificates.md`. "
        "Empty: no certificates.",
    )
    certificates_warn_share: float = Field(
        default=0.02,
        gt=0,
        le=0.5,
        description="Part of a served certificate's life with which left the reconciler alarms, 0.02 for a fiftieth. "
        "Renewals are never later than at a twentieth.",
    )
    webhook_private_networks: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        default=(),
        description="Networks that are not public and that webhooks may be in (`10.0.0.0/8`, comma separated). Where "
        "there are any, webhooks may have `http://` URLs too. Empty: public addresses and `https://` only.",
    )
    webhook_timeout: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(milliseconds=100),
        le=timedelta(seconds=60),
        description="How long a webhook may take to answer.",
    )
    webhook_disable_after: Duration = Field(
        default=timedelta(days=5),
        gt=timedelta(0),
        description="How long a webhook may fail; it is disabled with the next delivery to it that is given up.",
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server: `smtp://host:25`, `smtp://user:password@host:587` (with STARTTLS) or "
        "`smtps://user:password@host`. Empty: no mail.",
    )
    smtp_url_file: Path | None = Field(default=None, description="File with the same URL, instead of the variable.")
    smtp_timeout: Duration = Field(
        default=timedelta(seconds=20),
        ge=timedelta(milliseconds=100),
        le=timedelta(seconds=60),
        description="How long the mail server may take for each of its answers.",
    )
    mail_from: str = Field(
        default="Lifecycle <lifecycle@localhost.localdomain>",
        max_length=300,
        pattern=r"^[^\x00-\x1f\x7f]*@[^\x00-\x1f\x7f]+$",
        description="Who mail is from: an address, with or without a name.",
    )
    notification_workspace: str | None = Field(
        default=None,
        max_length=200,
        description="Name of the workspace that is told of alarms about the installation itself, such as an engine "
        "that does not answer. Empty: those are only shown by `lifecycle doctor` and the metrics.",
    )
    notification_retry_first: Duration = Field(
        default=timedelta(seconds=5),
        gt=timedelta(0),
        le=timedelta(hours=6),
        description="Pause after the first failure of a delivery; each following one is four times as long, up to six "
        "hours.",
    )
    notification_retry_span: Duration = Field(
        default=timedelta(days=3),
        gt=timedelta(0),
        le=timedelta(days=30),
        description="How long a delivery is tried before it is given up.",
    )
    notification_keep: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(days=1),
        description="How long deliveries that are over stay listed.",
    )
    log_format: str = Field(
        default="auto",
        pattern="^(auto|json|text)$",
        description="How API and worker write log lines: `json`, `text`, or `auto`, which is text on a terminal and "
        "JSON elsewhere.",
    )
    certificate_keys_kept: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(0),
        description="How long the private key of a certificate is kept after another took its place; at most until the "
        "certificate expires.",
    )
    certificates_kept: Duration = Field(
        default=timedelta(days=90),
        ge=timedelta(0),
        description="How long a certificate that another took the place of is kept, without its key, after it expired.",
    )
    key_cache_ttl: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="How long a looked-up API key counts as fresh; a revoked one works at most that long.",
    )
    key_cache_outage: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(0),
        description="How long a looked-up key is still accepted while the database is down.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, values: dict[str, object]) -> dict[str, object]:
        """Values that come from files, and the list that comes as one string."""
        if password := _content(values.get("database_password_file")):
            url = values.get("database_url", cls.model_fields["database_url"].default)
            values["database_url"] = _with_password(url, password)
        keys = _content(values.get("restate_identity_key_file")) or values.get("restate_identity_keys")
        if isinstance(keys, str):
            values["restate_identity_keys"] = tuple(key.strip() for key in keys.split(",") if key.strip())
        if smtp_url := _content(values.get("smtp_url_file")):
            values["smtp_url"] = smtp_url
        for name in ("gateway_addresses", "webhook_private_networks"):
            listed = values.get(name)
            if isinstance(listed, str):
                values[name] = tuple(one.strip() for one in listed.split(",") if one.strip())
        return values

    @model_validator(mode="after")
    def _check_graces(self) -> Self:
        if not self.deletion_min_grace <= self.deletion_grace <= self.deletion_max_grace:
            raise ValueError("deletion_min_grace <= deletion_grace <= deletion_max_grace must hold")
        return self

    @property
    def cname_target(self) -> str:
        """The domain below which every project has a name to point a CNAME to."""
        return self.deploy_cname_target or f"cname.{self.deploy_apex}"

    def key_ring(self) -> str | None:
        """The lines of the key ring, from the file or the variable; None when neither is set."""
        if self.key_encryption_key_file is not None:
            return self.key_encryption_key_file.read_text(encoding="utf-8")
        if self.key_encryption_keys is not None:
            return self.key_encryption_keys.get_secret_value()
        return None


def _content(file: object) -> str | None:
    """What is in a file that the settings name; None when they name none."""
    if not file:
        return None
    try:
        content = Path(str(file)).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if not content:
        raise ValueError(f"{file} is empty")  # an empty list of engines would mean: any engine
    return content


def _with_password(url: object, password: str) -> SecretStr:
    parts = urlsplit(url.get_secret_value() if isinstance(url, SecretStr) else str(url))
    user, _, place = parts.netloc.rpartition("@")
    netloc = f"{user.partition(':')[0]}:{quote(password, safe='')}@{place}"
    return SecretStr(parts._replace(netloc=netloc).geturl())
