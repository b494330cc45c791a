"""What the engine keeps of a project's deployments, and the messages that change it. Pure.

These are wire formats: a message outlives the release that sent it (see `models.Durable`).
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from lifecycle.deploy.domains import Kind
from lifecycle.models import Actor, Durable

# What a switch of an environment moves; the others belong to one deployment or branch.
LIVE_KINDS = tuple(kind for kind in Kind if kind.follows_live)


class Environment(StrEnum):
    """Where a deployment serves. Each has at most one live deployment."""

    PRODUCTION = "production"
    PREVIEW = "preview"


class Status(StrEnum):
    """Where a deployment stands; each is either terminal or progressing."""

    PENDING = "pending"
    QUEUED = "queued"
    BUILDING = "building"
    STARTING = "starting"
    DEPLOYING = "deploying"
    NETWORK = "network"
    FINALIZING = "finalizing"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    STOPPED = "stopped"

    @property
    def is_terminal(self) -> bool:
        """Whether its rollout is over."""
        return self in TERMINAL


TERMINAL = frozenset({Status.READY, Status.FAILED, Status.CANCELLED, Status.SUPERSEDED, Status.STOPPED})
# Nothing of these is wanted any more.
ENDED = TERMINAL - {Status.READY}


class Spec(Durable):
    """What to deploy. It travels in the engine, so the environment variables in it are sealed.

    Attributes:
        workspace_name: for the generated domains, as is `slug`.
        source: an image is built from a tarball that is uploaded after the request.
        port: where the instances listen; None: they are told in `PORT`.
        health_path: asked with GET; below 500 means healthy.
        watch_seconds: how long to watch its health after it went live, and roll back by itself.
        sealed_variables: environment variables as JSON, sealed for this deployment.
    """

    id: str
    project: str
    workspace: str
    workspace_name: str
    slug: str
    environment: Environment
    image: str | None = None
    command: tuple[str, ...] = ()
    directory: str | None = None
    source: bool = False
    branch: str | None = None
    commit_sha: str | None = None
    port: int | None = None
    replicas: int = 1
    regions: tuple[str, ...] = ()
    health_path: str = "/"
    watch_seconds: float = 0
    memory_mib: int = 512
    cpu_millicores: int = 1000
    auth_key_id: str | None = None
    sealed_variables: str | None = None
    requested_by: str
    created_at: datetime


class Waking(Durable):
    """The instances of a deployment are being started again, and are not healthy yet.

    Attributes:
        number: of the order; an answer to an older one says nothing any more.
        rolls_back: the deployment goes live as soon as they are.
        actor: who asked for it; None: it came by itself.
    """

    number: int
    rolls_back: bool = False
    actor: Actor | None = None


class Member(Durable):
    """One deployment as decisions need it.

    Attributes:
        number: counts the deployments of the project; a newer one is never overtaken by an older one.
        running: its instances are wanted, and were healthy when last heard of.
        waking: they are wanted, and are being started again.
        replaced: what was live in its environment before it, to go back to.
    """

    id: str
    number: int
    environment: Environment
    branch: str | None = None
    status: Status
    running: bool = False
    waking: Waking | None = None
    replaced: str | None = None
    message: str = ""


class Grace(Durable):
    """The project is scheduled for deletion, or was until just now: what was done to its deployments meanwhile.

    Attributes:
        over: it was cancelled, and the deployments in `waking` are not healthy again yet.
        suspended: its hosts answer 410.
        resting: deployments whose instances were stopped, to be started again by a cancel.
        waking: those that a cancel brings back, and that are not healthy again yet.
    """

    over: bool = False
    suspended: bool
    resting: tuple[str, ...] = ()
    waking: tuple[str, ...] = ()


class Fleet(Durable):
    """Every deployment of one project that still matters (state key `fleet`).

    Attributes:
        project: its id; empty before the first deployment.
        workspace: the project's.
        sequence: numbers the transitions; makes the ids of audit entries.
        numbered: how many deployments there ever were.
        live: the live deployment of each environment.
        pinned: environments whose live domains a rollback keeps where they are.
        rolling: the rollout that runs; one at a time.
        queued: those that wait for it, oldest first.
        switch: number of the last switch; a newer one is never undone by an older message.
        roused: number of the last order to start instances again.
        followed: generation of the last thing heard of the project's deletion.
        sealed: the project is being purged.
    """

    project: str = ""
    workspace: str = ""
    sequence: int = 0
    numbered: int = 0
    members: tuple[Member, ...] = ()
    live: Mapping[Environment, str] = {}
    pinned: tuple[Environment, ...] = ()
    rolling: str | None = None
    queued: tuple[Spec, ...] = ()
    switch: int = 0
    roused: int = 0
    grace: Grace | None = None
    followed: int = 0
    sealed: bool = False

    def member(self, deployment: str) -> Member | None:
        """The deployment with this id."""
        return next((one for one in self.members if one.id == deployment), None)

    def is_live(self, deployment: str) -> bool:
        """Whether it serves an environment."""
        return deployment in self.live.values()


class Deploy(Durable):
    """Asks for a deployment."""

    actor: Actor
    now: datetime
    spec: Spec


class Act(Durable):
    """Asks for something to be done with one deployment: cancel, roll back to it, promote, stop, wake."""

    actor: Actor
    now: datetime
    deployment: str


class Activate(Durable):
    """A rollout asks for its deployment to go live."""

    deployment: str
    now: datetime


class Settled(Durable):
    """A rollout ended, or its watch did. `message` is for the user; `healthy` is False when a watch gave up."""

    deployment: str
    status: Status
    now: datetime
    message: str = ""
    watched: bool = False


class Follow(Durable):
    """What became of the project's deletion; older generations are ignored.

    Attributes:
        due_at: when the purge is due; None after a cancel.
        suspend: its hosts are to say so instead of serving.
        rest: its instances are to be stopped meanwhile.
    """

    generation: int
    now: datetime
    due_at: datetime | None = None
    suspend: bool = True
    rest: bool = False


class Woken(Durable):
    """Instances were started again and are healthy, or could not be. `number` is the order's; 0: it does not say."""

    deployment: str
    number: int = 0
    now: datetime
    healthy: bool
    message: str = ""


class Switch(Durable):
    """An order to the routes of a project.

    Attributes:
        number: grows with every switch of the project; an older one does nothing.
        deployment: the target; None takes the environment off the air.
        expected: the live deployment that this switch was decided upon.
        back_from: moves every route of this deployment back to where it came from.
        kinds: which of the target's domains move.
        pinned: whether the environment is pinned afterwards.
        tells_rollout: the target's rollout waits for it.
    """

    number: int
    environment: Environment
    deployment: str | None = None
    expected: str | None = None
    back_from: str | None = None
    kinds: tuple[Kind, ...] = LIVE_KINDS
    pinned: bool = False
    tells_rollout: bool = False

    @property
    def live(self) -> bool:
        """Whether the environment's live deployment changes."""
        return Kind.LIVE in self.kinds


class Switched(Durable):
    """The gateway has confirmed a switch."""

    order: Switch
    now: datetime


class Retire(Durable):
    """The standby of a deployment is over."""

    deployment: str
    now: datetime


class Activation(Durable):
    """What became of the request to go live.

    Attributes:
        accepted: the deployment may finish; False when it was cancelled meanwhile.
        live: it serves its environment.
        reason: why it does not, for the user.
    """

    accepted: bool
    live: bool = False
    reason: str = ""
