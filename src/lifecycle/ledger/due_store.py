"""SQL: what is due next of each of many projects."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.db import Database
from lifecycle.ledger.entry import ActionState


class Due(NamedTuple):
    """The open action of a project that is due first, and how many are open in all."""

    kind: str
    label: str
    due_at: datetime
    state: ActionState
    total: int


async def of_projects(db: Database, projects: Sequence[str], *, workspace: str) -> Mapping[str, Due]:
    """By project what is open of it; without those of which nothing is."""
    rows = await db.all(
        "SELECT * FROM (SELECT a.project_id, a.kind, a.label, a.due_at, a.state, "
        "ROW_NUMBER() OVER (PARTITION BY a.project_id ORDER BY a.due_at, a.id) AS place, "
        "COUNT(*) OVER (PARTITION BY a.project_id) AS total FROM pending_actions a JOIN JSON_TABLE(%s, '$[*]' COLUMNS "
        "(id VARCHAR(40) PATH '$')) AS wanted ON a.project_id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin "
        "WHERE a.workspace_id = %s AND a.is_open = 1) AS placed WHERE place = 1",
        json.dumps(list(projects)),
        workspace,
    )
    return {
        row["project_id"]: Due(row["kind"], row["label"], row["due_at"], ActionState(row["state"]), int(row["total"]))
        for row in rows
    }
