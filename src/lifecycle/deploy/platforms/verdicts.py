"""What Docker's answers mean: a refusal for the user, or something that may work later."""

import re
from http import HTTPStatus

from aiodocker import DockerError

from lifecycle.deploy.platforms.platform import PlatformDownError, Refused

# aiodocker's own status: nobody listens.
_NOT_CONNECTED = 900

# Docker hands on what a registry or the network said as text, and under whatever status.
_NO_SUCH_IMAGE = ("not found", "manifest unknown", "name unknown", "no matching manifest", "does not exist")
_NO_ACCESS = ("denied", "unauthorized", "authentication required", "no basic auth credentials")
_NETWORK = (
    "dial tcp",
    "dial unix",
    "i/o timeout",
    "tls handshake",
    "no such host",
    "connection re",  # refused, reset
    "deadline exceeded",
    "request canceled",
    "server misbehaving",
    "toomanyrequests",
    "no space left",
    "bad gateway",
    "service unavailable",
)

# What the first process of a container ends with when it cannot run the command: no permission, no such file, other.
EXEC_FAILURES = (126, 127, 1)
_EXEC_FAILED = re.compile(r"\[FATAL +tini \(\d+\)\] exec .* failed: (?P<reason>.*)")


def is_outage(error: DockerError) -> bool:
    """Whether the engine itself is to blame, so that the same call may work later."""
    return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def is_unreachable(error: DockerError) -> bool:
    """Whether nobody listens."""
    return error.status == _NOT_CONNECTED


def registry(image: str) -> str:
    """The registry that an image reference names; Docker Hub when it names none."""
    first, slash, _ = image.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else "docker.io"


def of_create(image: str, error: DockerError) -> Refused:
    """Why Docker makes no container of this image."""
    return Refused(why=f"Docker cannot run the image {image}: {error.message}")


def of_start(error: DockerError) -> Refused:
    """Why Docker does not start a container, in the words of whoever knows the reason best."""
    reason = error.message.removesuffix(": unknown")
    for phrase in ("exec: ", "starting container process caused: "):
        reason = reason.rpartition(phrase)[2]
    return Refused(why=f"Docker cannot start it: {reason}")


def of_exec(program: str, last_line: str) -> Refused | None:
    """Why a container cannot run its command, when its first process said so in the last line of the output."""
    failed = _EXEC_FAILED.search(last_line)
    if failed is None:
        return None
    reason = failed["reason"].strip()
    if reason == "No such file or directory":
        return Refused(why=f"The command {program} was not found in the image: {reason}.")
    return Refused(why=f"The command {program} of the image cannot be run: {reason}.")


def of_pull(image: str, error: DockerError) -> Refused:
    """Why an image cannot be fetched.

    Raises:
        PlatformDownError: its registry, or the way there, is to blame. The message names the registry.
    """
    text = error.message.lower()
    if not _is_of_network(text):
        if any(phrase in text for phrase in _NO_ACCESS):
            return Refused(why=f"{registry(image)} does not hand out the image {image}: {error.message}")
        if any(phrase in text for phrase in _NO_SUCH_IMAGE):
            return Refused(why=f"There is no image {image} in {registry(image)}: {error.message}")
        if error.status == HTTPStatus.BAD_REQUEST:
            return of_create(image, error)
    raise PlatformDownError(f"the image {image} cannot be fetched from {registry(image)} now: {error.message}")


def of_build(error: DockerError, last_lines: str) -> Refused:
    """Why an image was not built, with the last lines that the build printed.

    Raises:
        PlatformDownError: a registry, or the way there, is to blame.
    """
    if _is_of_network(error.message.lower()):
        raise PlatformDownError(f"the image cannot be built now: {error.message}")
    return Refused(why=f"The build failed: {error.message}\n{last_lines}".rstrip())


def _is_of_network(text: str) -> bool:
    return any(phrase in text for phrase in _NETWORK)
