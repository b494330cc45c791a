"""What the gateway knows of one hostname: stored as JSON, and shown to the gateway as two maps. Pure.

    hosts      hostname -> deployment | suspended:<time> | stopped
    targets    deployment -> addresses of its instances

Hosts with the same goal share its targets, so a switch changes one line per host and no address.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC

from pydantic import AwareDatetime, JsonValue

from lifecycle.models import Durable

STOPPED = "stopped"


class SentinelConfig(Durable):
    """What the gateway knows of one hostname.

    Attributes:
        deployment: who answers there; kept while suspended or stopped, so that it can come back.
        enabled: requests reach it.
        instances: its addresses, each `host:port`.
        auth_key_id: the key that requests must carry.
        validation_spec: the OpenAPI document that requests must follow.
        suspended_until: the project is to be deleted then, and says so until then.
    """

    deployment: str | None
    enabled: bool
    instances: tuple[str, ...]
    auth_key_id: str | None = None
    validation_spec: JsonValue | None = None
    suspended_until: AwareDatetime | None = None


def config(
    *,
    deployment: str | None,
    instances: Iterable[str],
    auth_key_id: str | None,
    suspended_until: AwareDatetime | None,
    validation_spec: JsonValue | None = None,
) -> SentinelConfig:
    """The config of a hostname; enabled when a deployment with instances is there and not suspended."""
    addresses = tuple(sorted(set(instances)))
    return SentinelConfig(
        deployment=deployment,
        enabled=deployment is not None and bool(addresses) and suspended_until is None,
        instances=addresses,
        auth_key_id=auth_key_id,
        validation_spec=validation_spec,
        suspended_until=suspended_until,
    )


def host_value(config: SentinelConfig) -> str:
    """What the gateway's map of hosts holds: the deployment, `suspended:<RFC 3339>` or `stopped`.

    The time is cut to whole seconds: who reads it may be told too little time left, never too much.
    """
    if config.suspended_until is not None:
        moment = config.suspended_until.astimezone(UTC).isoformat(timespec="seconds")
        return f"suspended:{moment.replace('+00:00', 'Z')}"
    return config.deployment if config.enabled and config.deployment is not None else STOPPED


def gateway_view(
    configs: Mapping[str, SentinelConfig],
) -> tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]]:
    """What the gateway holds for these hostnames: hosts and targets, both in order.

    Every deployment that a host leads to has a target, and no other has.
    """
    hosts = {hostname: host_value(configs[hostname]) for hostname in sorted(configs)}
    targets: dict[str, set[str]] = {}
    for hostname, value in hosts.items():
        if value == configs[hostname].deployment:
            targets.setdefault(value, set()).update(configs[hostname].instances)
    return hosts, {deployment: tuple(sorted(targets[deployment])) for deployment in sorted(targets)}
