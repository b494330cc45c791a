"""What only the process platform promises: it runs beside us, so it must keep apart what the kernel mixes up."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecycle.deploy.platforms import folders, process
from lifecycle.deploy.platforms.platform import InstanceSpec, InstanceStatus, PlatformDownError, Refused, Running
from lifecycle.deploy.platforms.process import ProcessPlatform
from tests.integration.platforms.kits import AT_ONCE, ProcessKit, answers
from tests.support.waiting import eventually

# A worker of its own: starts the instance that it is given as JSON, says where it is, and waits to be killed.
_WORKER = """
import asyncio, sys
from pathlib import Path
from lifecycle.deploy.platforms.platform import InstanceSpec
from lifecycle.deploy.platforms.process import ProcessPlatform

async def main(root, spec, mark):
    started = await ProcessPlatform(Path(root)).start(
        InstanceSpec.model_validate_json(spec), {"GREETING": "hello", "MARK": mark}
    )
    print(started.address, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_it_survives_whoever_started_it(processes: ProcessKit) -> None:
    """My program goes on when the worker that started it is killed, and its exit code is still known later."""
    spec = processes.spec("serve")
    worker = await _worker(processes, spec)
    address = await _address(worker)
    await eventually(lambda: answers(address, "hello"), within=15)
    worker.kill()
    await worker.wait()

    found = await processes.found(spec.id)
    assert (found.status, found.address) == (InstanceStatus.RUNNING, address)
    assert await answers(address, "hello")
    await processes.kill(spec.id)
    assert (await processes.exited(spec.id)).exit_code == 137


async def test_two_workers_start_it_once(processes: ProcessKit) -> None:
    """Workers are processes of their own; when several start the same instance at once, it runs once."""
    spec = processes.spec("serve")
    workers = [await _worker(processes, spec) for _ in range(3)]
    addresses = {await _address(worker) for worker in workers}
    for worker in workers:
        worker.kill()
        await worker.wait()

    assert len(addresses) == 1
    await eventually(lambda: answers(addresses.copy().pop(), "hello"), within=15)
    assert (await processes.platform.logs(spec.id)).count("serving") == 1


async def test_a_number_that_went_to_another_process_is_noticed(processes: ProcessKit) -> None:
    """When the kernel gives the number of my ended program to another one, that one is neither mine nor ended."""
    spec = processes.spec("serve")
    await processes.serving(spec)
    stranger = await _sleeping()
    record = processes.root / spec.id / "record.json"
    former = record.read_text().replace(f'"pid":{processes.leader(spec.id)}', f'"pid":{stranger.pid}')
    try:
        os.killpg(processes.leader(spec.id), signal.SIGKILL)
        await processes.exited(spec.id)

        record.write_text(former)
        assert processes.leader(spec.id) == stranger.pid
        assert (await processes.found(spec.id)).status == InstanceStatus.EXITED
        await processes.serving(spec)
        record.write_text(former)
        await processes.platform.remove(spec.id, grace=timedelta(seconds=1))

        assert await processes.rest() == []
        assert stranger.returncode is None
        os.kill(stranger.pid, 0)
    finally:
        stranger.kill()
        await stranger.wait()
        for left in processes.processes():
            os.kill(left, signal.SIGKILL)


async def test_restarts_are_counted_and_keep_the_port(processes: ProcessKit) -> None:
    """After a start again, my program is where it was, and the number of starts is shown."""
    spec = processes.spec("serve")
    first = await processes.serving(spec)
    await processes.kill(spec.id)
    await processes.exited(spec.id)
    again = await processes.serving(spec)

    assert again == first
    found = await processes.found(spec.id)
    assert (found.restarts, found.exit_code) == (1, None)


async def test_what_it_started_ends_with_it(processes: ProcessKit) -> None:
    """Programs that mine started in the background are gone when it is started again, and when it is removed."""
    leaves = ("sh", "-c", "sleep 600 & sleep 600 & echo left; exit 0")
    spec = processes.spec("serve").model_copy(update={"command": leaves})
    await processes.platform.start(spec, processes.environment())
    assert (await processes.exited(spec.id)).exit_code == 0
    former = set(processes.processes())
    assert len(former) == 2

    await processes.platform.start(spec, processes.environment())
    await processes.exited(spec.id)
    assert not former & set(processes.processes())
    await processes.platform.remove(spec.id, grace=AT_ONCE)
    assert processes.processes() == []


async def test_it_is_asked_before_it_is_ended(processes: ProcessKit, tmp_path: Path) -> None:
    """My program may finish what it is doing: it is asked to end, and has its grace for that."""
    said = tmp_path / "said"
    command = ("sh", "-c", f"trap 'sleep 0.3; echo finished >{said}; exit' TERM; echo up; while :; do sleep 0.05; done")
    spec = processes.spec("serve").model_copy(update={"command": command})
    await processes.platform.start(spec, processes.environment())

    async def is_up() -> bool:
        return "up" in await processes.platform.logs(spec.id)

    await eventually(is_up, within=10)
    await processes.platform.remove(spec.id, grace=timedelta(seconds=20))
    assert said.read_text() == "finished\n"


async def test_nothing_of_ours_is_inherited(processes: ProcessKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """My program gets my variables and what every program needs, and nothing of Lifecycle's."""
    for name in ("LIFECYCLE_KEY_ENCRYPTION_KEYS", "RESTATE_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "ours")
    spec = processes.spec("serve").model_copy(update={"command": (sys.executable, "-c", _SHOW_ENVIRONMENT)})
    started = await processes.platform.start(spec, {"MINE": "1", "LANG": "de_DE.UTF-8"})
    assert isinstance(started, Running)
    await processes.exited(spec.id)

    lines = dict(line.split("=", 1) for line in (await processes.platform.logs(spec.id)).splitlines())
    assert set(lines) - {"PWD", "LC_CTYPE"} == {"MINE", "LANG", "PORT", "PATH", "HOME", "TMPDIR"}
    assert (lines["MINE"], lines["LANG"]) == ("1", "de_DE.UTF-8")
    assert lines["PORT"] == started.address.rpartition(":")[2]
    assert int(lines["PORT"]) < 32768


_SHOW_ENVIRONMENT = "import os\nfor name, value in os.environ.items(): print(f'{name}={value}')"


async def test_no_file_holds_a_secret(processes: ProcessKit) -> None:
    """The values of my variables are in no file that Lifecycle writes."""
    spec, secret = processes.spec("serve"), "s3cr3t-of-a-customer"
    await processes.serving(spec, secret)
    files = [path for path in processes.root.rglob("*") if path.is_file()]

    assert len(files) >= 2
    assert not [path for path in files if secret.encode() in path.read_bytes()]


async def test_output_has_a_bound(processes: ProcessKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much my program prints, the newest lines are kept, and the disk is not filled."""
    monkeypatch.setattr(folders, "OUTPUT_LIMIT", 100_000)
    count = "import time\nfor number in range(50_000): print(f'line {number}', flush=True)\ntime.sleep(600)"
    spec = processes.spec("serve").model_copy(update={"command": (sys.executable, "-c", count)})
    await processes.platform.start(spec, processes.environment())

    async def is_done() -> bool:
        await processes.platform.inspect(spec.id)
        return "line 49999\n" in await processes.platform.logs(spec.id, lines=5)

    await eventually(is_done, within=20)
    await processes.platform.inspect(spec.id)
    lines = (await processes.platform.logs(spec.id, lines=1000)).splitlines()
    assert (len(lines), lines[-1]) == (1000, "line 49999")
    size = sum(path.stat().st_size for path in processes.root.rglob("*") if path.is_file())
    assert size < 250_000


async def test_a_command_that_cannot_be_run_is_refused(processes: ProcessKit, tmp_path: Path) -> None:
    """What is wrong with my command is said in a sentence, and nothing is left of the attempt."""
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    spec, taken = processes.spec("serve"), socket.create_server(("127.0.0.1", 0))
    with taken:
        wrong: dict[str, dict[str, Any]] = {
            "There is no command": {"command": ()},
            "is not executable": {"command": (str(plain),)},
            "was not found": {"command": ("./nothing",)},
            "does not exist": {"directory": str(tmp_path / "nowhere")},
            "is not a directory": {"directory": str(plain)},
            "is taken on this machine": {"port": taken.getsockname()[1]},
            "null character": {"command": ("sh", "\0")},
        }
        for sentence, change in wrong.items():
            refused = await processes.platform.start(spec.model_copy(update=change), {})
            assert isinstance(refused, Refused)
            assert sentence in refused.why

    for name, value, sentence in (("a.b", "x", "'a.b' cannot be"), ("A", "\0", "null"), ("A", "x" * 3_000_000, "long")):
        refused = await processes.platform.start(spec, {name: value})
        assert isinstance(refused, Refused)
        assert sentence in refused.why
    assert await processes.rest() == []


async def test_it_runs_where_it_was_told_to(processes: ProcessKit, tmp_path: Path) -> None:
    """My program starts in its own directory, and a command with a slash is looked for there."""
    script = tmp_path / "run"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    spec = processes.spec("serve").model_copy(update={"command": ("./run",), "directory": str(tmp_path)})
    await processes.platform.start(spec, {})

    assert (await processes.exited(spec.id)).exit_code == 0
    assert await processes.platform.logs(spec.id) == f"{tmp_path}\n"


async def test_a_start_that_was_cut_off_runs_nothing(
    processes: ProcessKit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When the start cannot be written down, nothing runs that nobody would know of."""
    change = {"command": ("sh", "-c", "touch ran; sleep 600"), "directory": str(tmp_path)}
    spec = processes.spec("serve").model_copy(update=change)

    def full(_folder: folders.Folder, _record: folders.Record) -> None:
        time.sleep(0.2)  # long enough for a command that does not wait to begin
        raise OSError("no space left on device")

    monkeypatch.setattr(folders.Folder, "write", full)
    with pytest.raises(PlatformDownError, match="no space left"):
        await processes.platform.start(spec, processes.environment())

    await eventually(lambda: not processes.processes(), within=5)
    assert not (tmp_path / "ran").exists()
    assert await processes.rest() == []


async def test_a_worker_that_hangs_does_not_hang_the_others(
    processes: ProcessKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another worker holds the region and does not let go, that is an outage, and looking still works."""
    monkeypatch.setattr(process, "_LOCK_PATIENCE_SECONDS", 0.2)
    spec = processes.spec("serve")
    await processes.serving(spec)
    other, hanging = processes.spec("serve"), await _sleeping("flock", str(processes.root))
    try:
        await eventually(lambda: _is_held(processes, other), within=5)
        assert (await processes.found(spec.id)).status == InstanceStatus.RUNNING
    finally:
        os.killpg(hanging.pid, signal.SIGKILL)
        await hanging.wait()


async def _is_held(kit: ProcessKit, spec: InstanceSpec) -> bool:
    try:
        await kit.platform.start(spec, kit.environment())
    except PlatformDownError as error:
        return "held by another worker" in str(error)
    return False


async def test_ids_are_never_paths(tmp_path: Path) -> None:
    """No name leads out of the region's own folder."""
    platform = ProcessPlatform(tmp_path / "instances")
    for name in ("../x", "/etc", "", ".", "a/b"):
        with pytest.raises(ValueError, match="folder"):
            await platform.remove(name, grace=AT_ONCE)


async def _sleeping(*before: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*before, "sleep", "600", start_new_session=True)


async def _worker(kit: ProcessKit, spec: InstanceSpec) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WORKER, str(kit.root), spec.model_dump_json(), kit.mark), stdout=subprocess.PIPE
    )


async def _address(worker: asyncio.subprocess.Process) -> str:
    assert worker.stdout is not None
    return (await asyncio.wait_for(worker.stdout.readline(), 20)).decode().strip()
