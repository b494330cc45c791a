"""What the gateway is told of a hostname."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from lifecycle.deploy import sentinel
from lifecycle.deploy.sentinel import SentinelConfig
from tests.support.factories import NOW
from tests.support.profiles import QUICK

ONE, TWO = "10.0.0.1:8080", "10.0.0.2:8080"


def config(
    deployment: str | None = "dep_1",
    instances: tuple[str, ...] = (ONE,),
    suspended_until: datetime | None = None,
    validation_spec: JsonValue = None,
) -> SentinelConfig:
    """A config of which a test names only what matters to it."""
    return sentinel.config(
        deployment=deployment,
        instances=instances,
        auth_key_id="key_1",
        suspended_until=suspended_until,
        validation_spec=validation_spec,
    )


CONFIGS = st.dictionaries(
    st.sampled_from(("a.example", "b.example", "c.example", "d.example")),
    st.builds(
        config,
        deployment=st.sampled_from((None, "dep_1", "dep_2")),
        instances=st.lists(st.sampled_from((ONE, TWO)), max_size=3).map(tuple),
        suspended_until=st.sampled_from((None, None, NOW)),
    ),
)


@pytest.mark.parametrize(
    ("found", "enabled", "value"),
    [
        (config(), True, "dep_1"),
        (config(instances=()), False, "stopped"),
        (config(deployment=None), False, "stopped"),
        (config(deployment=None, instances=()), False, "stopped"),
        (config(suspended_until=NOW), False, "suspended:2026-11-21T09:00:00Z"),
        (config(deployment=None, suspended_until=NOW), False, "suspended:2026-11-21T09:00:00Z"),
    ],
)
def test_a_host_leads_to_its_deployment_only_when_somebody_answers(
    found: SentinelConfig, enabled: bool, value: str
) -> None:
    """A visitor reaches the deployment, or is told that it is stopped or will be deleted, and when."""
    assert found.enabled is enabled
    assert sentinel.host_value(found) == value


@pytest.mark.parametrize(
    "moment",
    [
        NOW + timedelta(microseconds=999_999),
        NOW.astimezone(timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_the_time_of_a_suspension_is_in_utc_and_whole_seconds(moment: datetime) -> None:
    """The page of a suspended project shows one form of time, and never a later one than the true one."""
    assert sentinel.host_value(config(suspended_until=moment)) == "suspended:2026-11-21T09:00:00Z"


def test_a_time_without_an_offset_is_refused() -> None:
    """Nobody is shown a time that is wrong by the offset of some machine."""
    with pytest.raises(ValidationError):
        config(suspended_until=NOW.replace(tzinfo=None))


def test_what_is_disabled_stays_off_whatever_else_it_has() -> None:
    """A host that was taken off the air is off, though it remembers where it led."""
    off = config().model_copy(update={"enabled": False})

    assert sentinel.host_value(off) == "stopped"
    assert sentinel.gateway_view({"a.example": off}) == ({"a.example": "stopped"}, {})


def test_a_suspended_host_remembers_where_it_led() -> None:
    """When the deletion is cancelled, everything is there to serve again."""
    suspended = config(instances=(TWO, ONE, TWO), suspended_until=NOW)

    assert (suspended.deployment, suspended.instances, suspended.auth_key_id) == ("dep_1", (ONE, TWO), "key_1")


def test_hosts_of_one_deployment_share_its_instances() -> None:
    """All names of a deployment share its load over the same instances, each listed once."""
    hosts, targets = sentinel.gateway_view(
        {
            "z.example": config(instances=(TWO, ONE)),
            "b.example": config(instances=(TWO, TWO)),
            "c.example": config(deployment="dep_0", instances=(TWO,)),
            "d.example": config(deployment="dep_2", suspended_until=NOW),
            "e.example": config(deployment="dep_3", instances=()),
        }
    )

    assert list(hosts.items()) == [
        ("b.example", "dep_1"),
        ("c.example", "dep_0"),
        ("d.example", "suspended:2026-11-21T09:00:00Z"),
        ("e.example", "stopped"),
        ("z.example", "dep_1"),
    ]
    assert list(targets.items()) == [("dep_0", (TWO,)), ("dep_1", (ONE, TWO))]


@QUICK
@given(CONFIGS)
def test_no_host_leads_nowhere(configs: dict[str, SentinelConfig]) -> None:
    """Every host is either off with a reason, or its deployment has an instance; nothing else is listed."""
    hosts, targets = sentinel.gateway_view(configs)
    led_to = {value for value in hosts.values() if value != "stopped" and not value.startswith("suspended:")}

    assert set(hosts) == set(configs)
    assert led_to == set(targets)
    assert all(addresses and list(addresses) == sorted(set(addresses)) for addresses in targets.values())
    assert {name for name, value in hosts.items() if value in targets} == {
        name for name, one in configs.items() if one.enabled
    }


@QUICK
@given(CONFIGS)
def test_the_order_in_which_hosts_were_found_does_not_matter(configs: dict[str, SentinelConfig]) -> None:
    """The same database always gives the same maps, so nothing is mended that is not broken."""
    hosts, targets = sentinel.gateway_view(configs)
    again_hosts, again_targets = sentinel.gateway_view(dict(reversed(configs.items())))

    assert list(hosts.items()) == list(again_hosts.items())
    assert list(targets.items()) == list(again_targets.items())


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@QUICK
@given(_json, st.datetimes(timezones=st.just(UTC)) | st.none())
def test_a_config_survives_the_database(spec: JsonValue, until: datetime | None) -> None:
    """What is read back is what was stored, the OpenAPI document included."""
    stored = config(suspended_until=until, validation_spec=spec)

    assert SentinelConfig.model_validate_json(stored.model_dump_json()) == stored


def test_a_config_of_another_release_is_understood() -> None:
    """Neither a field that is missing nor one that is unknown takes a host off the air."""
    text = json.dumps({"deployment": "dep_1", "enabled": True, "instances": [ONE], "from_the_future": 1})

    assert sentinel.host_value(SentinelConfig.model_validate_json(text)) == "dep_1"
