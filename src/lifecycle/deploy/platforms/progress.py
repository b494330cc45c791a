"""Calls of Docker's API that take long and report their progress: pull and build.

aiodocker has both, but takes a broken connection for the end, refuses long lines, and leaves the connection open when
the caller gives up.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any, BinaryIO

from aiodocker import Docker, DockerError

_CHUNK = 1024 * 1024
# As aiodocker has it: an error that came as a line of the answer, after its status.
_IN_STREAM = 0


async def pull(engine: Docker, image: str) -> None:
    """Fetch an image from its registry.

    Raises:
        DockerError: Docker, or the registry, says why not.
        aiohttp.ClientError: the connection broke.
    """
    name = image.rpartition("/")[2]
    # Without a tag, Docker would fetch every one there is.
    tag = {} if ":" in name or "@" in name else {"tag": "latest"}
    await _follow(engine, "images/create", {"fromImage": image, **tag}, body=None, tell=lambda _: None)


async def build(
    engine: Docker, tarball: BinaryIO, *, tag: str, labels: Mapping[str, str], tell: Callable[[str], None]
) -> None:
    """Build an image from a tarball, compressed or not, and `tell` what is printed, in pieces.

    Raises:
        DockerError: Docker says why not.
        aiohttp.ClientError: the connection broke.
    """
    parameters = {"t": tag, "labels": json.dumps(labels), "rm": "1", "forcerm": "1"}

    def tell_text(part: Mapping[str, Any]) -> None:
        status = f"{part['status']}\n" if part.get("status") else ""
        tell(part.get("stream") or status)

    await _follow(engine, "build", parameters, body=_chunks(tarball), tell=tell_text)


async def _follow(
    engine: Docker,
    path: str,
    parameters: Mapping[str, str],
    *,
    body: AsyncIterator[bytes] | None,
    tell: Callable[[Mapping[str, Any]], None],
) -> None:
    if engine.api_version == "auto":
        await engine.version()  # settles which one both speak
    async with engine.session.post(
        f"{engine.docker_host}/{engine.api_version}/{path}",
        params=parameters,
        data=body,
        headers={"Content-Type": "application/x-tar"},
    ) as answer:
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise DockerError(answer.status, str((await answer.json())["message"]))
        rest = b""
        async for chunk in answer.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in filter(bytes.strip, lines):
                part = json.loads(line)
                if "error" in part:
                    raise DockerError(_IN_STREAM, str(part["error"]))
                tell(part)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        yield chunk
