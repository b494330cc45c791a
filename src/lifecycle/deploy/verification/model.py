"""What is stored and sent about the verification of custom domains. Field names are a contract with older releases."""

from datetime import datetime
from enum import StrEnum

from lifecycle.deploy.model import Environment
from lifecycle.models import Actor, Durable
from lifecycle.scheduler.countdown import Countdown


class Status(StrEnum):
    """Where a project's claim to a domain stands.

    Attributes:
        PENDING: nothing is proved yet; it is looked again and again.
        VERIFIED: the project owns the domain here, and the gateway routes it.
        DANGLING: the same, but its records have led elsewhere for several looks.
        FAILED: nothing was proved in time; somebody has to ask again.
        LOST: another project proved that it controls the domain.
    """

    PENDING = "pending"
    VERIFIED = "verified"
    DANGLING = "dangling"
    FAILED = "failed"
    LOST = "lost"

    @property
    def owns(self) -> bool:
        """Whether the domain belongs to the project."""
        return self in {Status.VERIFIED, Status.DANGLING}

    @property
    def contends(self) -> bool:
        """Whether others must prove control by TXT while this claim is there."""
        return self.owns or self is Status.PENDING


class Purpose(StrEnum):
    """What a DNS record is for: to prove control, or to lead visitors here."""

    OWNERSHIP = "ownership"
    ROUTING = "routing"


class Condition(StrEnum):
    """How a DNS record was found; `UNKNOWN` before the first look, and when no server answers."""

    UNKNOWN = "unknown"
    MISSING = "missing"
    WRONG = "wrong"
    OK = "ok"


class Seen(Durable):
    """How one record was found.

    Attributes:
        found: a sentence for people.
    """

    condition: Condition = Condition.UNKNOWN
    found: str = ""


class Sight(Durable):
    """What DNS said of a domain in one look.

    Attributes:
        by_name: a CNAME leads to the target of this project, which no other project has. Addresses are the same for
            all, and say nothing of whom they were set for.
    """

    ownership: Seen = Seen()
    routing: Seen = Seen()
    by_name: bool = False


class Former(Durable):
    """A claim that has lost the domain, at `version`."""

    id: str
    project: str
    token: str
    version: int


class Ruling(Durable):
    """What one look has come to, as the database has it now.

    Attributes:
        version: counts the changes of the claim; a lower one says nothing any more.
        gone: there is no such claim any more.
        won: the domain became the project's a short while ago; the gateway has to be told.
        proof: what it can be won by.
        routed: visitors are led here.
        taken_from: whose it was until a short while ago; they have to be told.
        certificate: whether a certificate may be asked for without spoiling one that was ordered otherwise; never
            where none are asked for by themselves.
        displaces: another project's certificate for this very name is in the way, and has to give way.
        missing: there is no certificate for this name, and none is under way.
        forfeits: the domains whose certificates have this name in them, and belong to other workspaces.
    """

    version: int = 0
    gone: bool = False
    status: Status = Status.PENDING
    reason: str = ""
    next_check_at: datetime | None = None
    won: bool = False
    proof: Purpose | None = None
    routed: bool = False
    taken_from: tuple[Former, ...] = ()
    certificate: bool = False
    displaces: bool = False
    missing: bool = False
    forfeits: tuple[str, ...] = ()


class Verification(Durable):
    """The clock and the history of one claim (state key `domain`).

    Attributes:
        token: stands in the TXT record; a claim that is made anew has another one.
        begun_at: since when it is tried; somebody who asks again begins again.
        version: of the last ruling that was heard.
        asked: a certificate was asked for since the domain was won, and was not refused.
        refused: why the last one was refused; told once.
        removed: the project gave the domain back.
    """

    project: str
    workspace: str
    hostname: str
    environment: Environment
    token: str
    status: Status = Status.PENDING
    begun_at: datetime
    countdown: Countdown = Countdown()
    version: int = 0
    asked: bool = False
    refused: str = ""
    removed: bool = False
    sequence: int = 0


class Begin(Durable):
    """A claim was written down.

    Attributes:
        verified: nobody asks for proof here.
        actor: who wants the domain; None in messages of an older release.
    """

    project: str
    workspace: str
    hostname: str
    environment: Environment
    token: str
    now: datetime
    actor: Actor | None = None
    verified: bool = False


class Retry(Durable):
    """Somebody wants it to be looked at now; `claim` says what the database knows, for one that has no clock yet."""

    actor: Actor
    now: datetime
    claim: Begin
    status: Status
    version: int


class Wake(Durable):
    """A wake-up."""

    generation: int


class Question(Durable):
    """What is to be looked at, for which claim.

    Attributes:
        version: of the claim as its clock knew it.
    """

    id: str
    project: str
    hostname: str
    token: str
    begun_at: datetime
    version: int


class Looked(Durable):
    """A look has ended."""

    token: str
    ruling: Ruling


class Lost(Durable):
    """Another project proved that it controls the domain."""

    token: str
    version: int


class Refused(Durable):
    """The certificate that was asked for is not to be had now; `why` is for people."""

    token: str
    why: str


class Forget(Durable):
    """The project gives the domain back.

    Attributes:
        certified: it has a certificate for this name alone, which nobody needs any more.
        issuing: that one is being issued.
    """

    now: datetime
    actor: Actor | None = None
    certified: bool = False
    issuing: bool = False
