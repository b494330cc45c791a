"""Certificate authorities: which there are, whether they may be asked, and our accounts there.

`Authorities` is what handlers use. Its rules are in `breaker` (does the CA work?) and `budget` (would its rate limits
let an order through?); both are pure.
"""

from lifecycle.certs.authorities.accounts import Opened
from lifecycle.certs.authorities.authorities import Authorities, Standing, Terms, unavailable
from lifecycle.certs.authorities.breaker import Breaker, Closed, Gate, Picked
from lifecycle.certs.authorities.budget import Admitted, Event, Limit, Place, Queued, names_digest
from lifecycle.certs.authorities.health import Reported
from lifecycle.certs.authorities.limits import Used

__all__ = [
    "Admitted",
    "Authorities",
    "Breaker",
    "Closed",
    "Event",
    "Gate",
    "Limit",
    "Opened",
    "Picked",
    "Place",
    "Queued",
    "Reported",
    "Standing",
    "Terms",
    "Used",
    "names_digest",
    "unavailable",
]
