"""What the routes share: the connections of the process, and who is asking."""

from collections import OrderedDict
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from lifecycle import ids
from lifecycle.access import store as access_store
from lifecycle.access.ended_sessions import EndedSessions
from lifecycle.access.keys import Keyring
from lifecycle.api.problems import invalid_parameter
from lifecycle.certs import configuration
from lifecycle.certs.authorities import Authorities
from lifecycle.certs.dns import Publisher
from lifecycle.client import Client
from lifecycle.db import Database, DatabaseDownError
from lifecycle.deploy.platforms import regions
from lifecycle.engine import Engine
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger.changes import Changes
from lifecycle.models import Actor, Role
from lifecycle.notifications.look_ups import LookUps
from lifecycle.observability import logs
from lifecycle.scheduler import store
from lifecycle.settings import Settings
from lifecycle.vault import Vault

_REMEMBERED_SLUGS = 10_000
_LONGEST_REFERENCE = 63
# A database that hangs must leave time for the cancel itself.
_LOOK_UP_DEADLINE = timedelta(seconds=2)

_bearer = HTTPBearer(auto_error=False, description="An API key, as `lifecycle key create` prints it.")


class Context:
    """The connections of one API process."""

    def __init__(self, *, settings: Settings, db: Database, client: Client, engine: Engine, vault: Vault) -> None:
        self.settings = settings
        self.db = db
        self.client = client
        self.engine = engine
        self.vault = vault
        self.certificates = configuration.read(settings.certificates_file)
        self.authorities = Authorities(self.certificates, db, vault)
        self.publisher = Publisher(self.certificates)
        self.regions = regions.parse(settings.regions)
        self.platforms = {name: regions.open_platform(url) for name, url in self.regions.items()}
        self.keyring = Keyring(db, ttl=settings.key_cache_ttl, outage=settings.key_cache_outage)
        self.ended_sessions = EndedSessions(db, ttl=settings.key_cache_ttl)
        self.changes = Changes(db)
        self.look_ups = LookUps()
        self._slugs: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def close(self) -> None:
        """Let go of connections that were opened here."""
        await self.changes.close()
        self.authorities.close()
        for platform in self.platforms.values():
            await platform.close()

    async def acts_for_platform(self, actor: Actor) -> bool:
        """Whether somebody is of the workspace that acts for the whole installation."""
        name = self.settings.platform_workspace
        return name is not None and await access_store.workspace_name(self.db, actor.workspace) == name

    async def project_id(self, actor: Actor, reference: str) -> str:
        """The project id behind an id or slug; whether an id exists is for its object to say.

        Slugs are remembered only for the time in which the database is down, so that a cancel by slug gets
        through then.

        Raises:
            LifecycleError: `project_not_found`.
        """
        found = reference if ids.is_project_id(reference) else await self._found(actor, reference)
        logs.bind(project=found)
        return found

    async def _found(self, actor: Actor, reference: str) -> str:
        if len(reference) > _LONGEST_REFERENCE or not reference.isascii():
            raise LifecycleError(Code.PROJECT_NOT_FOUND)
        place = (actor.workspace, reference)
        try:
            found = await store.find_project(
                self.db, workspace=actor.workspace, reference=reference, deadline=_LOOK_UP_DEADLINE
            )
        except DatabaseDownError:
            if place in self._slugs:
                return self._slugs[place]
            raise
        if found is None:
            self._slugs.pop(place, None)
            raise LifecycleError(Code.PROJECT_NOT_FOUND)
        self._slugs[place] = found.id
        while len(self._slugs) > _REMEMBERED_SLUGS:
            self._slugs.popitem(last=False)
        return found.id


def context(request: Request) -> Context:
    """The context of this process."""
    found: Context = request.app.state.context
    return found


ContextOf = Annotated[Context, Depends(context)]


CredentialsOf = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def actor(context: ContextOf, credentials: CredentialsOf) -> Actor:
    """Who asks; every route but the public ones depends on it."""
    if credentials is None:
        raise LifecycleError(Code.KEY_MISSING)
    return await context.keyring.who(credentials.credentials)


ActorOf = Annotated[Actor, Depends(actor)]


def require(actor: Actor, role: Role) -> None:
    """Refuse an actor without the role."""
    if not actor.role.includes(role):
        raise LifecycleError(Code.ROLE_REQUIRED, required=role.value, role=actor.role.value)


async def require_platform(context: Context, actor: Actor) -> None:
    """Refuse whoever is no administrator of the workspace that acts for the whole installation."""
    require(actor, Role.ADMINISTRATOR)
    if not await context.acts_for_platform(actor):
        raise LifecycleError(Code.PLATFORM_WORKSPACE_REQUIRED)


def if_match(
    value: Annotated[
        str | None,
        Header(alias="If-Match", description='Act only on this generation: the ETag of a former answer, `"3"`.'),
    ] = None,
) -> int | None:
    """The generation in If-Match; None when any will do."""
    if value is None or value.strip() == "*":
        return None
    bare = value.strip().removeprefix("W/").strip('"')
    if not bare.isascii() or not bare.isdigit() or len(bare) > 18:  # noqa: PLR2004  digits of a 64-bit number
        raise invalid_parameter("If-Match", 'not a generation; send the ETag of a former answer, such as "3"')
    return int(bare)


IfMatch = Annotated[int | None, Depends(if_match)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Any unique text. A repetition within a day with the same key and body gets the same answer.",
    ),
]


def idempotency(actor: Actor, key: str | None, *parts: str) -> str | None:
    """The engine's idempotency key for a request: of another person, or with other `parts`, it is another request."""
    return None if key is None else ids.derived("idk", actor.workspace, actor.key, key, *parts)


def etag(generation: int) -> str:
    """A generation as ETag."""
    return f'"{generation}"'
