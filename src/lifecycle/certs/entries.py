"""Turns decisions about certificates into ledger entries. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from lifecycle.certs.decision import Transition
from lifecycle.certs.model import KIND, Certificate, Status
from lifecycle.certs.renewals import Source
from lifecycle.ledger.entry import SYSTEM, ActionRow, ActionState, CertificateRow, Entry

_REASONS: Mapping[Source, str] = MappingProxyType(
    {
        Source.WINDOW: "The CA wants it renewed then.",
        Source.FALLBACK: "Most of its life is over then.",
        Source.SPREAD: "It was issued together with many, and they are renewed one after the other.",
        Source.FLOOR: "So little of its life is left that it cannot wait.",
        Source.MOVED: "Somebody moved it.",
    }
)
_LONGEST_REASON = 500


def entries(domain: str, before: Certificate, after: Certificate, transitions: Sequence[Transition]) -> Iterator[Entry]:
    """One entry for each transition; the last one brings the rows of lists."""
    for number, transition in enumerate(transitions, start=before.sequence + 1):
        is_last = number == before.sequence + len(transitions)
        yield Entry(
            id=f"{domain}.c{number}",
            sequence=number,
            workspace=after.workspace,
            project=after.project,
            action=transition.action,
            actor=transition.actor,
            at=transition.at,
            detail={"domain": domain, **transition.detail},
            pending_action=_action(domain, before, after, transition) if is_last else None,
            certificate_row=_row(domain, after) if is_last and after.wish is not None else None,
        )


def _action(domain: str, before: Certificate, after: Certificate, transition: Transition) -> ActionRow | None:
    countdown = after.countdown
    due_at = countdown.due_at or before.countdown.due_at
    if due_at is None:
        return None
    return ActionRow(
        kind=KIND,
        subject=domain,
        label=domain,
        state=_state(after),
        due_at=due_at if countdown.due_at else min(due_at, transition.at),
        generation=countdown.generation,
        reason=_reason(after)[:_LONGEST_REASON],
        requested_by=after.requested_by if after.version is None else SYSTEM,
    )


def _state(after: Certificate) -> ActionState:
    if after.running is not None and after.running.is_at_work:
        return ActionState.RUNNING
    if after.countdown.due_at is not None:
        return ActionState.PENDING
    return ActionState.FAILED if after.status is Status.FAILED and after.cancelled is None else ActionState.CANCELLED


def _reason(after: Certificate) -> str:
    is_first = after.version is None
    if after.last_error:
        tried = "First certificate, tried again" if is_first else "Tried again"
        return f"{tried}: {after.last_error}" if after.countdown.due_at else after.last_error
    if is_first:
        return "First certificate: it was asked for."
    return "" if after.source is None else _REASONS[after.source]


def _row(domain: str, after: Certificate) -> CertificateRow:
    wish = after.wish
    return CertificateRow(
        domain=domain,
        names=wish.names if wish else (),
        challenge=wish.challenge.value if wish else "",
        status=after.status.value,
        next_renewal_at=after.countdown.due_at,
        last_error=after.last_error,
    )
