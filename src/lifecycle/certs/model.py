"""What the engine stores and sends about certificates. Field names are part of the contract with older releases."""

from datetime import datetime
from enum import StrEnum

from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.renewals import Choice, Life, Source
from lifecycle.certs.verdicts import RenewalInfo
from lifecycle.models import Actor, Durable
from lifecycle.scheduler.countdown import Countdown

KIND = "certificate-renewal"


class Status(StrEnum):
    """Where a certificate stands, as people see it."""

    ISSUING = "issuing"
    ACTIVE = "active"
    RENEWING = "renewing"
    FAILED = "failed"
    REVOKED = "revoked"
    REMOVED = "removed"


class Cause(StrEnum):
    """Why a version was issued."""

    REQUESTED = "requested"
    RENEWAL = "renewal"
    WINDOW = "window"
    KEY_COMPROMISE = "key_compromise"


class Ending(StrEnum):
    """How an issuance ended.

    Attributes:
        ISSUED: the certificate is served.
        WAIT: the CA wants to be left alone for a while; the same order goes on then.
        AGAIN: something is down; the same order goes on later.
        INVALID: the CA did not find what it looked for; that order is dead.
        REFUSED: the same request can never succeed.
        ACCOUNT: the CA does not want our account.
        PAUSED: the CA waits for a person.
        MISMATCHED: the CA issued something else than was ordered.
        HALTED: somebody gave it up.
    """

    ISSUED = "issued"
    WAIT = "wait"
    AGAIN = "again"
    INVALID = "invalid"
    REFUSED = "refused"
    ACCOUNT = "account"
    PAUSED = "paused"
    MISMATCHED = "mismatched"
    HALTED = "halted"


class Wish(Durable):
    """What is to be certified, and how.

    Attributes:
        identifiers: as `names.identifiers` gave them.
        ca: name of the authority that is wanted; None takes the first that works.
        profile: of the CA; None takes that of the configuration.
        by_person: whether a person sets the DNS records.
    """

    identifiers: tuple[Identifier, ...]
    challenge: ChallengeType
    ca: str | None = None
    profile: str | None = None
    by_person: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names as text."""
        return tuple(one.value for one in self.identifiers)


class Version(Durable):
    """One certificate that was issued.

    Attributes:
        id: of its row, which holds chain and sealed key.
        certificate_id: for the CA's renewal information (RFC 9773, section 4.1).
        key_digest: SHA-256 of its public key, in hexadecimal.
    """

    id: str
    number: int
    ca: str
    serial: str
    issuer: str
    certificate_id: str | None
    life: Life
    key_digest: str
    issued_at: datetime
    cause: Cause = Cause.REQUESTED


def workflow_key(issuance: str, run: int) -> str:
    """The key of a run of an issuance; a workflow runs once, so each further run needs another key."""
    return issuance if run == 1 else f"{issuance}.{run}"


class Running(Durable):
    """The issuance that is at work, or waits to go on.

    Attributes:
        run: the workflow runs once, so going on after a long wait is another run of the same issuance.
        is_at_work: whether a workflow runs now.
        is_halted: whether somebody gave it up, and it has not ended yet.
    """

    issuance: str
    run: int = 1
    cause: Cause
    begun_at: datetime
    is_at_work: bool = True
    is_halted: bool = False

    @property
    def key(self) -> str:
        """The key of the workflow."""
        return workflow_key(self.issuance, self.run)


class Cancelled(Durable):
    """A renewal that somebody cancelled."""

    generation: int
    cancelled_at: datetime


class Certificate(Durable):
    """Everything about the certificates of one domain (state key `certificate`).

    Attributes:
        version: the one in use.
        certified: the names in it; empty when an older release issued it.
        numbered: how many versions there were.
        countdown: to the next renewal, or to the next attempt.
        random: drawn once for each version, from 0 to 1.
        choice: the moment chosen in the CA's window.
        silent_since: since when the CA has given no window.
        next_look_at: when to read the CA's window again.
        spread_at: the first renewal of one that was issued together with many.
        attempts: how many failed since the last success.
        failures: when validations failed of late.
        issued: when the last ones were issued.
        unpause_link: where a person must act.
        moved_to: where somebody moved the renewal; it holds until the CA's window changes.
        spread: place and count among many that were asked for together, until the first renewal.
        revoking: number of the version whose revocation is under way.
        forfeited: names that have become somebody else's; it is renewed no more with any of them.
        leaving: issuances that are at work still, and belong to whoever had the domain before.
    """

    workspace: str = ""
    project: str | None = None
    wish: Wish | None = None
    version: Version | None = None
    certified: tuple[str, ...] = ()
    numbered: int = 0
    running: Running | None = None
    countdown: Countdown = Countdown()
    source: Source | None = None
    random: float = 0.5
    choice: Choice | None = None
    silent_since: datetime | None = None
    next_look_at: datetime | None = None
    spread: tuple[int, int] | None = None
    spread_at: datetime | None = None
    moved_to: datetime | None = None
    attempts: int = 0
    failures: tuple[datetime, ...] = ()
    issued: tuple[datetime, ...] = ()
    last_error: str = ""
    last_error_at: datetime | None = None
    unpause_link: str | None = None
    cancelled: Cancelled | None = None
    revoked_at: datetime | None = None
    revoking: int | None = None
    forfeited: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    removed: bool = False
    requested_by: str = ""
    sequence: int = 0

    @property
    def exists(self) -> bool:
        """Whether there is anything to show."""
        return self.wish is not None and not self.removed

    @property
    def is_at_work(self) -> bool:
        """Whether an issuance is at work."""
        return self.running is not None and self.running.is_at_work

    @property
    def is_stopped(self) -> bool:
        """Whether it is not to be renewed by itself."""
        return self.cancelled is not None or self.revoked_at is not None or bool(self.forfeited)

    @property
    def status(self) -> Status:
        """Where it stands."""
        if self.removed:
            return Status.REMOVED
        if self.version is None:
            return Status.ISSUING if self.running is not None else Status.FAILED
        if self.is_at_work:
            return Status.RENEWING
        return Status.REVOKED if self.revoked_at is not None else Status.ACTIVE


class IssueCertificate(Durable):
    """Asks for a certificate, or for other names or another way than it has now.

    Attributes:
        spread: place and count of a request among many that come together; its first renewal is spread.
        force: whether the budget does not count.
    """

    actor: Actor
    now: datetime
    project: str | None = None
    wish: Wish
    spread: tuple[int, int] | None = None
    force: bool = False


class Act(Durable):
    """Somebody asks for something to be done.

    Attributes:
        generation: the one that the person saw; None takes any.
        force: whether the budget does not count.
    """

    actor: Actor
    now: datetime
    generation: int | None = None
    force: bool = False


class RescheduleRenewal(Act):
    """Moves the renewal."""

    due_at: datetime


class RevokeCertificate(Act):
    """Revokes the certificate in use.

    Attributes:
        reason: code of RFC 5280, section 5.3.1.
    """

    reason: int = 0


class Seal(Durable):
    """Ends everything about a certificate, if it belongs to those who are meant.

    Attributes:
        workspace: whose it must be; None takes any.
        project: whose it must be; None takes any.
        other_than: the workspace that has won the domain, and whose it must not be.
    """

    workspace: str | None = None
    project: str | None = None
    other_than: str | None = None

    def means(self, certificate: Certificate) -> bool:
        """Whether this certificate is meant."""
        return (
            self.workspace in (None, certificate.workspace)
            and self.project in (None, certificate.project)
            and certificate.workspace != self.other_than
        )


class Forfeit(Durable):
    """A name has become somebody else's.

    Attributes:
        winner: the workspace that has proved that it controls the name.
    """

    name: str
    winner: str


class Wake(Durable):
    """A wake-up."""

    generation: int


class Assignment(Durable):
    """What an issuance has to do.

    Attributes:
        number: of the version that is to come.
        replaces: id of the certificate that it replaces, at the authority `former_ca`.
        attempt: 1 for the first order of this renewal.
        by_window: whether the CA's renewal window wants it now, and the order says what it replaces.
        same_names: whether the one in use, of `former_ca`, has the same names.
        remaining_seconds: how long the one in use is still valid; None when there is none.
        lifetime_seconds: how long that one is valid in all.
    """

    issuance: str
    run: int
    domain: str
    workspace: str
    project: str | None
    wish: Wish
    number: int
    cause: Cause
    attempt: int
    replaces: str | None = None
    former_ca: str | None = None
    by_window: bool = False
    same_names: bool = False
    remaining_seconds: float | None = None
    lifetime_seconds: float | None = None

    @property
    def key(self) -> str:
        """The key of the workflow."""
        return workflow_key(self.issuance, self.run)


class Outcome(Durable):
    """How an issuance ended.

    Attributes:
        message: for people.
        at: when it ended; None where the receiver is to look at the clock.
        until: when to go on, for `WAIT`.
        window: when the CA wants the new one to be renewed.
        looked_retry_at: when to read that again, as the CA says.
    """

    ending: Ending
    message: str = ""
    ca: str | None = None
    at: datetime | None = None
    until: datetime | None = None
    unpause_link: str | None = None
    version: Version | None = None
    window: RenewalInfo | None = None
    looked_retry_at: datetime | None = None


class Settled(Durable):
    """An issuance ended."""

    issuance: str
    run: int
    workspace: str = ""
    outcome: Outcome

    @property
    def key(self) -> str:
        """The key of the workflow."""
        return workflow_key(self.issuance, self.run)


class Advised(Durable):
    """What the CA says about when to renew; no window when it says nothing that can be used."""

    certificate_id: str
    window: RenewalInfo | None = None
    retry_at: datetime | None = None


class Revoked(Durable):
    """A revocation ended; `failure` says why the CA did not do it."""

    version: int
    reason: int
    failure: str = ""


class Read(Durable):
    """Asks to see a certificate, from inside one workspace."""

    workspace: str
