"""The worker dies of SIGKILL at every single point of an issuance and of a renewal, one run each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest

from lifecycle.certs.names import ChallengeType
from tests.support.issuer import Desk, fresh_name
from tests.support.mortal import quiet

_RUN = "Issuance/run"
_ORDER = (
    _RUN,
    f"{_RUN}/prepare",
    "db/begin_order",
    f"{_RUN}/order",
    "db/mark_asked",
    "ca/new_order",
    "db/set_order_url",
)
_PUBLISH = (
    f"{_RUN}/read-authorizations",
    "ca/read_authorization",
    f"{_RUN}/publish",
    "db/write_published",
)
_PROVE = (
    f"{_RUN}/answer",
    "ca/answer",
    f"{_RUN}/look-1",
    f"{_RUN}/withdraw",
    "db/mark_removed",
)
_CERTIFY = (
    f"{_RUN}/finalize",
    "ca/finalize",
    "ca/read_order",
    f"{_RUN}/keep",
    "ca/download",
    "db/insert_version",
    f"{_RUN}/deliver",
    "gateway/install",
    "db/serve",
    f"{_RUN}/read-window",
    "ca/read_renewal_info",
    "CertificateService/settle",
    "Ledger/record",
)
_ACCOUNT = ("ca/new_account",)


class Story(NamedTuple):
    """What is done, and the points that the worker passes then."""

    challenge: ChallengeType
    begin: str
    points: Sequence[str]


STORIES: Mapping[str, Story] = {
    "http-01": Story(
        ChallengeType.HTTP_01,
        "issue",
        ("CertificateService/process_challenge", *_ORDER, *_PUBLISH, *_PROVE, *_CERTIFY),
    ),
    "tls-alpn-01": Story(
        ChallengeType.TLS_ALPN_01,
        "issue",
        (
            *("CertificateService/process_challenge", *_ORDER, *_PUBLISH),
            *("gateway/answer_challenge", "gateway/withdraw_challenge", *_PROVE, *_CERTIFY),
        ),
    ),
    "dns-01": Story(
        ChallengeType.DNS_01,
        "issue",
        (
            *("CertificateService/process_challenge", *_ORDER, *_PUBLISH),
            *("dns/publish", f"{_RUN}/look-at-records-1", "dns/remove", *_PROVE, *_CERTIFY),
        ),
    ),
    "renewal": Story(
        ChallengeType.HTTP_01,
        "renew",
        ("CertificateService/renew", *_ORDER, *_PUBLISH, *_PROVE, *_CERTIFY),
    ),
    "first account": Story(
        ChallengeType.HTTP_01,
        "open an account",
        ("CertificateService/process_challenge", *_ORDER, *_ACCOUNT, *_PUBLISH, *_PROVE, *_CERTIFY),
    ),
}
# CI kills around every journaled step and where the CA may know more than we do; `-m chaos` does the rest.
_DELICATE = {"ca/new_order", "ca/finalize", "db/insert_version", "CertificateService/settle"}
_RUNS = [
    pytest.param(
        story,
        point,
        when,
        id=f"{story}: {when} {point}",
        marks=[]
        if (story == "http-01" and (point.count("/") == 2 or point in _DELICATE) and when == "after")
        or point in {"dns/publish", "gateway/answer_challenge", "ca/new_account"}
        else pytest.mark.chaos,
    )
    for story, told in STORIES.items()
    for point in (told.points if story != "first account" else _ACCOUNT)
    for when in ("before", "after")
]
# Of every certificate and of nobody's doing.
_BACKGROUND = (
    *("Reconciler/", "InstanceService/", "CertificateUpkeep/", "DomainLook/"),
    "CertificateService/certificate",
)


async def prepare(desk: Desk, story: Story) -> str:
    """Bring everything into the state in which the story begins; gives its domain."""
    domain = fresh_name()
    if story.begin == "renew":
        await desk.ask(domain, challenge=story.challenge)
        await desk.ends(domain)
    if story.begin == "open an account":
        await desk.forget_account()
    await quiet(desk.stack)
    return domain


async def tell(desk: Desk, story: Story, domain: str) -> None:
    """Let the story begin."""
    if story.begin == "renew":
        await desk.renew(domain)
    else:
        await desk.ask(domain, challenge=story.challenge)


@pytest.mark.parametrize(("story", "point", "when"), _RUNS)
async def test_a_worker_that_is_killed_is_not_noticed(desk: Desk, story: str, point: str, when: str) -> None:
    """Wherever the worker dies: one order at the CA, one certificate, one key, served, and nothing left published."""
    told = STORIES[story]
    domain = await prepare(desk, told)
    with desk.points.death_at(point, when):
        await tell(desk, told, domain)
        truth = await desk.ends(domain)

    assert len(truth.orders) == len(truth.versions) == (2 if told.begin == "renew" else 1)


@pytest.mark.parametrize("story", STORIES)
async def test_no_point_is_left_out(desk: Desk, story: str) -> None:
    """The list of points at which the worker is killed is the list of those that it passes."""
    told = STORIES[story]
    domain = await prepare(desk, told)
    desk.points.forget()
    await tell(desk, told, domain)
    await desk.ends(domain)
    passed = {line.rpartition(" ")[0] for line in desk.points.passed()}

    assert {point for point in passed if not point.startswith(_BACKGROUND)} == set(told.points)
