"""Certificate authorities and the rotation of the wrapping key, as HTTP shows them."""

from datetime import datetime

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from lifecycle.api.shapes.base import Answer
from lifecycle.certs.authorities import Gate, Limit
from lifecycle.rotation import State

_ACCOUNT_URL = "https://acme-v02.api.letsencrypt.org/acme/acct/1234"
_ACCOUNT: JsonDict = {
    "url": _ACCOUNT_URL,
    "status": "valid",
    "contact": ["mailto:ops@example.com"],
    "created_at": "2026-11-21T09:00:00.000Z",
    "rolled_over_at": None,
    "rolling_over": False,
}
_BREAKER: JsonDict = {"state": "closed", "failures": 0, "until": None, "last_error": ""}
_BUDGET: JsonDict = {
    "limit": "certificates-per-registered-domain",
    "subject": "example.com",
    "capacity": 50,
    "left": 47,
    "period_seconds": 604800.0,
    "full_at": "2026-11-21T19:04:48.000Z",
    "blocked_until": None,
}
_AUTHORITY: JsonDict = {
    "name": "letsencrypt",
    "directory_url": "https://acme-v02.api.letsencrypt.org/directory",
    "order": 1,
    "rehearsal_only": False,
    "staging": "letsencrypt-staging",
    "directory_error": None,
    "profiles": {"classic": "The default profile", "shortlived": "Valid for six days"},
    "default_profile": None,
    "renewal_info": True,
    "breaker": _BREAKER,
    "account": _ACCOUNT,
    "budgets": [_BUDGET],
}


class BreakerAnswer(Answer):
    """Whether the CA is asked."""

    state: Gate
    failures: int = Field(description="In a row.")
    until: datetime | None = Field(description="Nothing is ordered there before.")
    last_error: str


class AccountAnswer(Answer):
    """Our account at a CA."""

    url: str | None
    status: str = Field(description="As the CA gives it; `new` before it gave one, `deactivating` while it is ended.")
    contact: tuple[str, ...]
    created_at: datetime
    rolled_over_at: datetime | None
    rolling_over: bool = Field(description="Another key is on its way.")


class BudgetAnswer(Answer):
    """How full one of the CA's rate limits is."""

    limit: Limit
    subject: str = Field(description="What it counts for; empty for the whole account.")
    capacity: int | None = Field(description="None for a limit that the CA has told of, and that is not counted here.")
    left: int
    period_seconds: float | None = Field(description="Time in which an empty one becomes full.")
    full_at: datetime | None
    blocked_until: datetime | None = Field(description="As the CA said.")


class AuthorityAnswer(Answer):
    """A certificate authority."""

    model_config = ConfigDict(json_schema_extra={"examples": [_AUTHORITY]})

    name: str
    directory_url: str
    order: int | None = Field(description="Its place in the order of preference; none for one of rehearsals only.")
    rehearsal_only: bool
    staging: str | None = Field(description="Where the first order of a name is rehearsed.")
    directory_error: str | None = Field(description="Why it does not give its directory now.")
    profiles: dict[str, str] = Field(description="Name and description of each.")
    default_profile: str | None
    renewal_info: bool = Field(description="Whether it says when certificates are to be renewed (RFC 9773).")
    breaker: BreakerAnswer
    account: AccountAnswer | None = Field(description="None before the first order.")
    budgets: tuple[BudgetAnswer, ...] = Field(description="Of the account, and of names in this workspace.")


class AuthorityList(Answer):
    """All certificate authorities, in order of preference."""

    items: tuple[AuthorityAnswer, ...]


class AccountChanged(Answer):
    """Our account, after it was changed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"authority": "letsencrypt", "url": _ACCOUNT_URL, "status": "valid"}]}
    )

    authority: str
    url: str
    status: str


class RotationAnswer(Answer):
    """A rotation of the wrapping key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "state": "done",
                    "key": "2027-05",
                    "requested_by": "ada@example.com",
                    "started_at": "2027-05-02T09:00:00.000Z",
                    "finished_at": "2027-05-02T09:00:07.000Z",
                    "passes": 2,
                    "column": None,
                    "looked_at": 1204,
                    "expected": 1204,
                    "rewrapped": 1204,
                    "unreadable": [],
                    "needed": {"2027-05": 1204},
                    "removable": ["2026-11"],
                    "message": "",
                }
            ]
        }
    )

    state: State
    key: str = Field(description="Name of the key that seals: the first of the key ring.")
    requested_by: str | None
    started_at: datetime | None
    finished_at: datetime | None
    passes: int = Field(description="Through all columns; the last one finds nothing to do.")
    column: str | None = Field(description="Which is being gone through.")
    looked_at: int = Field(description="Values in this pass.")
    expected: int = Field(description="Values in the pass before; 0 in the very first.")
    rewrapped: int = Field(description="Values that were sealed anew.")
    unreadable: tuple[str, ...] = Field(description="Values that no key of the ring opens; twenty at most.")
    needed: dict[str, int] = Field(description="Values by the name of the key that they need.")
    removable: tuple[str, ...] = Field(description="Keys of the ring that no value needs any more, once it is done.")
    message: str = Field(description="Why it failed.")
