"""The whole of Lifecycle on one machine: engine, database, worker and API, in one folder.

The folder holds everything: data, logs, keys and `ready.json`. Nothing outside it is touched.
"""

import asyncio
import fcntl
import json
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from lifecycle import clock, identity, ids, migrate, secret_files, vault
from lifecycle.access import keys, store
from lifecycle.db import Database
from lifecycle.deploy.platforms.process import ProcessPlatform
from lifecycle.dev import acme, ports
from lifecycle.dev.acme import ChallengeServer, Pebble, PebbleOptions
from lifecycle.dev.gateway import HaProxy
from lifecycle.dev.process import Child
from lifecycle.dev.servers import Engine, MariaDb, Own, answers
from lifecycle.models import Role
from lifecycle.settings import Settings

PORTS = (
    "restate_ingress",
    "restate_admin",
    "restate_node",
    "mysql",
    "worker",
    "api",
    "gateway_http",
    "gateway_https",
    *acme.PORTS,
)
# Settings of whoever starts it that count here as well; all others are how the parts find each other.
ADJUSTABLE = (
    "LIFECYCLE_REQUEST_TIMEOUT",
    "LIFECYCLE_DELETION_GRACE",
    "LIFECYCLE_DELETION_MIN_GRACE",
    "LIFECYCLE_DELETION_MAX_GRACE",
    "LIFECYCLE_DELETION_RELEASE_NOTICE",
    "LIFECYCLE_DELETION_EXPEDITE_FLOOR",
    "LIFECYCLE_RECONCILER_INTERVAL",
    "LIFECYCLE_DEPLOY_READY_WITHIN",
    "LIFECYCLE_DEPLOY_STANDBY",
    "LIFECYCLE_DEPLOY_CNAME_TARGET",
    "LIFECYCLE_DOMAINS_VERIFY",
    "LIFECYCLE_DOMAINS_CERTIFICATES",
    "LIFECYCLE_GATEWAY_ADDRESSES",
)
REGION = "local"
APEX = "lifecycle.localhost"  # browsers take every name below localhost for this machine
WORKSPACE = "dev"
PERSON = "admin@example.com"
_HOST = "127.0.0.1"
# One CA that asks the challenge server for addresses, and finds this machine under every name.
_CERTIFICATES = """\
resolvers = ["{resolver}"]

[[authority]]
name = "pebble"
directory_url = "{directory_url}"
trust_file = "{trust}"
internal = true
http_port = {http_port}
tls_port = {tls_port}
"""
_INSTANCE_GRACE = timedelta(seconds=3)


class AlreadyRunningError(Exception):
    """Another stack runs in the same folder."""


class Stack:
    """Private servers under `root`.

    Args:
        root: the folder; made when it is not there.
        given_ports: ports to use instead of free ones.
        engine_environment: further settings of restate-server.
        settings: further settings of Lifecycle, by name of the environment variable.
        authority: what is special about the certificate authority.
    """

    def __init__(
        self,
        root: Path,
        *,
        given_ports: Mapping[str, int] | None = None,
        engine_environment: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        authority: PebbleOptions | None = None,
    ) -> None:
        self.root = root
        self._absolute = root.resolve()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(root / "lock")
        (root / "ready.json").unlink(missing_ok=True)
        self.ports = ports.assign(PORTS, remembered=root / "ports.json", given=given_ports or {})
        identity_key = root / "identity.pem"
        public_key = identity.ensure(identity_key)
        self.engine = Engine(
            root / "restate",
            self.ports,
            log=self._log("restate-server"),
            identity_key=identity_key,
            extra=engine_environment,
        )
        self.database = MariaDb(
            root / "mariadb",
            self.ports["mysql"],
            password=secret_files.ensure(root / "mysql-password", lambda: secrets.token_hex(16)),
            log=self._log("mariadb"),
        )
        self.gateway = HaProxy(
            root / "gateway",
            self.ports["gateway_http"],
            api_address=f"{_HOST}:{self.ports['api']}",
            tls_port=self.ports["gateway_https"],
            log=self._log("haproxy"),
        )
        self.challenges, self.authority = self._authority(authority or PebbleOptions())
        secret_files.ensure(root / "key-ring", lambda: vault.new_ring_line("dev"))
        self.environment = {**self._environment(public_key), **(settings or {})}
        self.worker = Own(
            "worker",
            url=f"http://{_HOST}:{self.ports['worker']}",
            health="/health",
            environment=self.environment,
            log=self._log("worker"),
        )
        self.api = Own("api", url=self.api_url, health="/healthz", environment=self.environment, log=self._log("api"))

    def _authority(self, chosen: PebbleOptions) -> tuple[ChallengeServer, Pebble]:
        """A certificate authority that looks for answers to its challenges at the gateway."""
        challenges = ChallengeServer(self.ports, log=self._log("pebble-challtestsrv"), program=chosen.challenge_program)
        looked_at = {"validation_http": self.ports["gateway_http"], "validation_tls": self.ports["gateway_https"]}
        pebble = Pebble(
            self._absolute / "pebble",
            {**self.ports, **looked_at},
            dns=chosen.dns or challenges.dns,
            log=self._log("pebble"),
            program=chosen.program,
            options=chosen.options,
            environment=chosen.environment,
        )
        return challenges, pebble

    def _environment(self, public_key: str) -> dict[str, str]:
        """What our own processes are told; the times are short, so that a person sees things happen."""
        return {
            "LIFECYCLE_DATABASE_URL": self.database.url,
            "LIFECYCLE_RESTATE_INGRESS_URL": self.engine.ingress_url,
            "LIFECYCLE_RESTATE_ADMIN_URL": self.engine.admin_url,
            "LIFECYCLE_RESTATE_IDENTITY_KEYS": public_key,
            "LIFECYCLE_WORKER_PORT": str(self.ports["worker"]),
            "LIFECYCLE_WORKER_PUBLIC_URL": f"http://{_HOST}:{self.ports['worker']}",
            "LIFECYCLE_API_PORT": str(self.ports["api"]),
            "LIFECYCLE_API_URL": self.api_url,
            "LIFECYCLE_KEY_ENCRYPTION_KEY_FILE": str(self.root / "key-ring"),
            "LIFECYCLE_DELETION_MIN_GRACE": "1s",
            "LIFECYCLE_DELETION_EXPEDITE_FLOOR": "1s",
            "LIFECYCLE_DELETION_RELEASE_NOTICE": "1m",
            "LIFECYCLE_RECONCILER_INTERVAL": "10s",
            "LIFECYCLE_REGIONS": f"{REGION}=process:{self._absolute}/instances",
            "LIFECYCLE_DEPLOY_APEX": APEX,
            "LIFECYCLE_PLATFORM_WORKSPACE": WORKSPACE,
            "LIFECYCLE_WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",  # where people try receivers of their own
            "LIFECYCLE_DOMAINS_VERIFY": "false",  # people try names that no DNS knows
            "LIFECYCLE_DEPLOY_SOURCE_FOLDER": str(self.root / "sources"),
            "LIFECYCLE_GATEWAY_FOLDER": str(self.root / "gateway"),
            "LIFECYCLE_CERTIFICATES_FILE": str(self.root / "certificates.toml"),
        }

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://{_HOST}:{self.ports['api']}"

    @property
    def children(self) -> tuple[Child, ...]:
        """All processes, in the order in which they start."""
        servers = (self.database, self.engine, self.gateway, self.challenges, self.authority, self.worker, self.api)
        return tuple(server.child for server in servers)

    def settings(self) -> Settings:
        """The settings of the stack's own processes."""
        known = {f"LIFECYCLE_{name.upper()}": name for name in Settings.model_fields}
        values: dict[str, Any] = {known[name]: value for name, value in self.environment.items()}
        return Settings.model_validate(values)

    async def start(self, started: Callable[[str], None] = lambda _: None) -> dict[str, str | None]:
        """Start everything in order and return what `ready.json` says.

        Args:
            started: told the name of each part as it comes up.

        Raises:
            StartError: a server did not come up.
        """
        await self.start_servers(started)
        await self.worker.start()
        started("worker")
        await self.api.start()
        await self.worker.child.wait_until(self._is_registered, within=timedelta(seconds=60))
        started("api")
        return await self._write_ready()

    async def start_servers(self, started: Callable[[str], None] = lambda _: None) -> None:
        """Start only the servers of others, and bring the database to the present schema."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_then(self.database.start(), lambda: started("mariadb")))
            group.create_task(_then(self.engine.start(), lambda: started("restate-server")))
            group.create_task(_then(self.gateway.start(), lambda: started("haproxy")))
            group.create_task(_then(self._start_authority(), lambda: started("pebble")))
        await asyncio.to_thread(migrate.upgrade, self.database.url)
        started("migrations")

    async def stop(self) -> None:
        """Stop everything; the engine before the worker, which else waits for its calls. The data stays."""
        (self.root / "ready.json").unlink(missing_ok=True)
        parts = (self.api, self.engine, self.worker, self.database, self.gateway, self.authority, self.challenges)
        for part in parts:
            await part.child.stop()
        await _remove_instances(self._absolute)
        self._lock.close()

    async def _start_authority(self) -> None:
        self.write_certificates_file()
        await self.challenges.start()
        await self.authority.start()
        # It has another root at every start; what it issued before is still served, so older ones stay.
        bundle = self.root / "ca-bundle.pem"
        former = bundle.read_text(encoding="utf-8") if bundle.exists() else ""
        root = await self.authority.root()
        bundle.write_text(former if root in former else former + root, encoding="utf-8")

    def write_certificates_file(self, more: str = "") -> None:
        """Write which authority and resolver there are, and `more` TOML after it."""
        text = _CERTIFICATES.format(
            resolver=self.challenges.dns,
            directory_url=self.authority.directory_url,
            trust=self.authority.trust,
            http_port=self.ports["gateway_http"],
            tls_port=self.ports["gateway_https"],
        )
        (self.root / "certificates.toml").write_text(text + more, encoding="utf-8")

    async def _is_registered(self) -> bool:
        return await answers(f"{self.api_url}/readyz")

    async def _write_ready(self) -> dict[str, str | None]:
        ready: dict[str, str | None] = {
            "api_url": self.api_url,
            "console_url": f"{self.api_url}/",
            "api_key": await self._administrator_key(),
            "restate_ingress_url": self.engine.ingress_url,
            "restate_admin_url": self.engine.admin_url,
            "mysql_url": self.database.url,
            "acme_directory_url": self.authority.directory_url,
            "gateway_http_url": self.gateway.url,
            "gateway_https_url": self.gateway.tls_url,
            "ca_bundle": str(self._absolute / "ca-bundle.pem"),
        }
        partial = self.root / "ready.json.part"
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(ready, indent=2) + "\n", encoding="utf-8")
        partial.rename(self.root / "ready.json")
        return ready

    async def _administrator_key(self) -> str:
        kept = self.root / "api-key"
        if not kept.exists():
            db = Database(self.database.url, size=1, deadline=timedelta(seconds=10))
            try:
                workspace = await store.ensure_workspace(
                    db, workspace_id=ids.new("ws"), name=WORKSPACE, now=clock.now()
                )
                key = await keys.create(db, workspace=workspace, person=PERSON, role=Role.ADMINISTRATOR, by=None)
            finally:
                await db.close()
            secret_files.ensure(kept, lambda: key.token)
        return kept.read_text(encoding="utf-8").strip()

    def _log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"


def erase(root: Path) -> None:
    """Remove everything that a stack left in `root`, instances that it could not stop included.

    Raises:
        AlreadyRunningError: a stack runs there.
    """
    if root.exists():
        _lock(root / "lock").close()
        asyncio.run(_remove_instances(root.resolve()))
        shutil.rmtree(root)


async def _remove_instances(root: Path) -> None:
    instances = ProcessPlatform(root / "instances")
    for instance in await instances.find():
        await instances.remove(instance.id, grace=_INSTANCE_GRACE)


def _lock(path: Path) -> IO[str]:
    handle = path.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise AlreadyRunningError(f"another 'lifecycle dev' runs in {path.parent}") from None
    return handle


async def _then(work: Awaitable[None], after: Callable[[], None]) -> None:
    await work
    after()
