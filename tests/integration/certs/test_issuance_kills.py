"""The worker dies of SIGKILL at every single point of an issuance and of a renewal, one run each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest

from lifecycle.certs.names import ChallengeType
from tests.support.issuer import Desk, fresh_name
from tests.support.mortal import PASSED_BY_ITSELF, quiet

_RUN = "Issuance/run"
_ORDER = (_RUN, f"{_RUN}/order", "db/begin_order", "ca/new_order", "db/set_order_url")
_PUBLISH = ("ca/read_authorization", "db/write_published")
_PROVE = (f"{_RUN}/prove", *_PUBLISH, "ca/answer")
_CERTIFY = (
    f"{_RUN}/finalize-1",
    "ca/finalize",
    "ca/read_order",
    "ca/download",
    "db/insert_version",
    f"{_RUN}/deliver",
    "gateway/install",
    "db/serve",
    "ca/read_renewal_info",
    "CertificateService/settle",
    "Ledger/record",
)
_BY_HTTP = (*_ORDER, *_PROVE, "db/withdraw_tokens", *_CERTIFY)
_BY_TLS = (*_ORDER, *_PROVE, "gateway/answer_challenge", "gateway/withdraw_challenge", "db/mark_removed", *_CERTIFY)
_BY_DNS = (
    *(*_ORDER, f"{_RUN}/publish", *_PUBLISH, "dns/publish", f"{_RUN}/look-at-records-1"),
    *(f"{_RUN}/answer", "ca/answer", "dns/remove", "db/mark_removed", *_CERTIFY),
)
_ACCOUNT = ("ca/new_account",)


class Story(NamedTuple):
    """What is done, and the points that the worker passes then."""

    challenge: ChallengeType
    begin: str
    points: Sequence[str]


STORIES: Mapping[str, Story] = {
    "http-01": Story(ChallengeType.HTTP_01, "issue", ("CertificateService/process_challenge", *_BY_HTTP)),
    "tls-alpn-01": Story(ChallengeType.TLS_ALPN_01, "issue", ("CertificateService/process_challenge", *_BY_TLS)),
    "dns-01": Story(ChallengeType.DNS_01, "issue", ("CertificateService/process_challenge", *_BY_DNS)),
    "renewal": Story(ChallengeType.HTTP_01, "renew", ("CertificateService/renew", *_BY_HTTP)),
    "first account": Story(
        ChallengeType.HTTP_01,
        "open an account",
        ("CertificateService/process_challenge", *_ACCOUNT, *_BY_HTTP),
    ),
}
# CI kills around every journaled step and after each thing that a step does; `-m chaos` does the rest.
_RUNS = [
    pytest.param(
        story,
        point,
        when,
        id=f"{story}: {when} {point}",
        marks=[]
        if (story == "http-01" and when == "after")
        or point in {"dns/publish", "gateway/answer_challenge", "ca/new_account"}
        else pytest.mark.chaos,
    )
    for story, told in STORIES.items()
    for point in (told.points if story != "first account" else _ACCOUNT)
    for when in ("before", "after")
]
# Of every certificate and of nobody's doing.
_BACKGROUND = (*PASSED_BY_ITSELF, "CertificateService/certificate")


async def prepare(desk: Desk, story: Story) -> str:
    """Bring everything into the state in which the story begins; gives its domain."""
    domain = fresh_name()
    await desk.has_account()
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
