"""Regions: named platforms, as the settings write them.

`local=process:/var/lib/lifecycle/instances,eu=docker:unix:///var/run/docker.sock?network=host`
"""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from lifecycle.deploy.platforms.docker import DockerPlatform
from lifecycle.deploy.platforms.platform import Platform
from lifecycle.deploy.platforms.process import ProcessPlatform

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_OPTIONS = {"process": {"host"}, "docker": {"network"}}
_EXAMPLE = "write for example local=process:/var/lib/lifecycle or eu=docker:unix:///var/run/docker.sock"


def parse(text: str) -> Mapping[str, str]:
    """The platform's URL of each region, in the order of the text; none for an empty text.

    Raises:
        ValueError: it is not a list of `name=url`, a name is there twice, or a URL names no platform.
    """
    regions: dict[str, str] = {}
    for entry in text.split(",") if text.strip() else []:
        name, equals, url = entry.strip().partition("=")
        if not equals:
            raise ValueError(f"{entry.strip()!r} is not a region; {_EXAMPLE}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a region; use lower-case letters, digits and hyphens")
        if name in regions:
            raise ValueError(f"the region {name} is there twice")
        _split(url)
        regions[name] = url
    return regions


def open_platform(url: str) -> Platform:
    """The platform that a URL of `parse` names; it reaches out when it is first used.

    `process:/absolute/folder`, with `?host=` for the address the gateway uses. `docker:` and the URL of an engine
    (`unix://` and an absolute path, `tcp://` or `http://`), with `?network=` for the network of its containers.

    Raises:
        ValueError: it names none.
    """
    kind, place, options = _split(url)
    if kind == "process":
        return ProcessPlatform(Path(place), host=options.get("host", "127.0.0.1"))
    return DockerPlatform(place, network=options.get("network", "bridge"))


def _split(url: str) -> tuple[str, str, dict[str, str]]:
    kind, _, rest = url.partition(":")
    if kind not in _OPTIONS:
        raise ValueError(f"{url!r} names no platform; {_EXAMPLE}")
    place, _, query = rest.partition("?")
    if kind == "process" and not place.startswith("/"):
        raise ValueError(f"{place!r} is not an absolute path; {_EXAMPLE}")
    if kind == "docker" and not _is_engine(place):
        raise ValueError(f"{place!r} is not the URL of a container engine; {_EXAMPLE}")
    options: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise ValueError(f"{query!r} is not a list of options; write option=value, with & between two") from error
    for option, value in pairs:
        if option not in _OPTIONS[kind]:
            known = ", ".join(sorted(_OPTIONS[kind]))
            raise ValueError(f"{option!r} is no option of a {kind} region; there is: {known}")
        if not value or option in options:
            raise ValueError(f"the option {option} needs one value")
        options[option] = value
    return kind, place, options


def _is_engine(place: str) -> bool:
    parts = urlsplit(place)
    if parts.scheme == "unix":
        return not parts.netloc and parts.path.startswith("/")
    return parts.scheme in {"tcp", "http"} and parts.hostname is not None
