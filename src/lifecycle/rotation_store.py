"""SQL: every column of the database that holds a sealed value, for the rotation of the wrapping key.

**A new column with sealed values joins in `COLUMNS`**; a test compares them with the schema.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lifecycle.certs.authorities import accounts
from lifecycle.db import Connection, Database
from lifecycle.notifications import targets_store
from lifecycle.receipts import signing


class Column(NamedTuple):
    """A column of sealed values.

    Attributes:
        name: table and column, and the place inside where it is JSON.
        page: reads `id` and `sealed` of the rows behind an id, in order: id, number of rows.
        replace: puts a value in the place of another: new value, id, former value.
        bound_to: what the value of a row is sealed for, by its id.
    """

    name: str
    page: str
    replace: str
    bound_to: Callable[[str], str]


class Value(NamedTuple):
    """One sealed value."""

    id: str
    sealed: str


def _its_id(row: str) -> str:
    return row


COLUMNS: Sequence[Column] = (
    Column(
        name="signing_keys.sealed_private_key",
        page="SELECT kid AS id, sealed_private_key AS sealed FROM signing_keys WHERE kid > %s ORDER BY kid LIMIT %s",
        replace="UPDATE signing_keys SET sealed_private_key = %s WHERE kid = %s AND sealed_private_key = %s",
        bound_to=signing.bound_to,
    ),
    Column(
        name="deployments.spec.sealed_variables",
        page="SELECT id, JSON_UNQUOTE(JSON_EXTRACT(spec, '$.sealed_variables')) AS sealed FROM deployments "
        "WHERE id > %s AND JSON_TYPE(JSON_EXTRACT(spec, '$.sealed_variables')) = 'STRING' ORDER BY id LIMIT %s",
        replace="UPDATE deployments SET spec = JSON_SET(spec, '$.sealed_variables', %s) "
        "WHERE id = %s AND JSON_UNQUOTE(JSON_EXTRACT(spec, '$.sealed_variables')) = %s",
        bound_to=_its_id,
    ),
    Column(
        name="certificates.sealed_key",
        page="SELECT id, sealed_key AS sealed FROM certificates WHERE id > %s AND sealed_key <> '' ORDER BY id "
        "LIMIT %s",
        replace="UPDATE certificates SET sealed_key = %s WHERE id = %s AND sealed_key = %s",
        bound_to=_its_id,
    ),
    Column(
        name="acme_orders.sealed_key",
        page="SELECT issuance_id AS id, sealed_key AS sealed FROM acme_orders WHERE issuance_id > %s "
        "AND sealed_key <> '' ORDER BY issuance_id LIMIT %s",
        replace="UPDATE acme_orders SET sealed_key = %s WHERE issuance_id = %s AND sealed_key = %s",
        # The key of the certificate that the issuance brings.
        bound_to=lambda issuance: f"crt_{issuance.removeprefix('iss_')}",
    ),
    Column(
        name="acme_accounts.sealed_key",
        page="SELECT ca AS id, sealed_key AS sealed FROM acme_accounts WHERE ca > %s ORDER BY ca LIMIT %s",
        replace="UPDATE acme_accounts SET sealed_key = %s WHERE ca = %s AND sealed_key = %s",
        bound_to=accounts.bound_to,
    ),
    Column(
        name="acme_accounts.sealed_next_key",
        page="SELECT ca AS id, sealed_next_key AS sealed FROM acme_accounts WHERE ca > %s "
        "AND sealed_next_key IS NOT NULL ORDER BY ca LIMIT %s",
        replace="UPDATE acme_accounts SET sealed_next_key = %s WHERE ca = %s AND sealed_next_key = %s",
        bound_to=accounts.bound_to,
    ),
    Column(
        name="webhooks.sealed_secret",
        page="SELECT id, sealed_secret AS sealed FROM webhooks WHERE id > %s ORDER BY id LIMIT %s",
        replace="UPDATE webhooks SET sealed_secret = %s WHERE id = %s AND sealed_secret = %s",
        bound_to=targets_store.bound_to,
    ),
    Column(
        name="webhooks.sealed_former_secret",
        page="SELECT id, sealed_former_secret AS sealed FROM webhooks WHERE id > %s "
        "AND sealed_former_secret IS NOT NULL ORDER BY id LIMIT %s",
        replace="UPDATE webhooks SET sealed_former_secret = %s WHERE id = %s AND sealed_former_secret = %s",
        bound_to=targets_store.bound_to,
    ),
)


async def page(db: Database, column: Column, *, after: str, limit: int) -> Sequence[Value]:
    """The values of a column behind an id, in order of ids."""
    return [Value(row["id"], row["sealed"]) for row in await db.all(column.page, after, limit)]


async def replace(db: Database, column: Column, changes: Sequence[tuple[Value, str]]) -> int:
    """Put the new values in the place of those that were read; what has changed since stays. Returns how many."""

    async def work(connection: Connection) -> int:
        return sum([await connection.execute(column.replace, new, old.id, old.sealed) for old, new in changes])

    return await db.transaction(work)
