"""Regions as the settings write them."""

import pytest

from lifecycle.deploy.platforms import regions
from lifecycle.deploy.platforms.docker import DockerPlatform
from lifecycle.deploy.platforms.process import ProcessPlatform


def test_regions_are_named_in_order() -> None:
    """Each region has a name and a platform, in the order I wrote them."""
    text = "local=process:/var/lib/lifecycle/instances, eu-1=docker:unix:///var/run/docker.sock?network=host"
    parsed = regions.parse(text)

    assert list(parsed.items()) == [
        ("local", "process:/var/lib/lifecycle/instances"),
        ("eu-1", "docker:unix:///var/run/docker.sock?network=host"),
    ]
    assert isinstance(regions.open_platform(parsed["local"]), ProcessPlatform)
    assert isinstance(regions.open_platform(parsed["eu-1"]), DockerPlatform)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_setting_means_no_region(text: str) -> None:
    """Leaving the setting empty switches deployments off, and is no mistake."""
    assert regions.parse(text) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("process:/srv", "is not a region"),
        ("a=process:/srv,", "is not a region"),
        ("A=process:/srv", "cannot be the name"),
        ("-a=process:/srv", "cannot be the name"),
        ("a=process:/srv,a=process:/other", "there twice"),
        ("a=podman:/srv", "names no platform"),
        ("a=/srv", "names no platform"),
        ("a=process:srv", "not an absolute path"),
        ("a=process:", "not an absolute path"),
        ("a=process:/srv?network=host", "is no option of a process region; there is: host"),
        ("a=docker:", "not the URL of a container engine"),
        ("a=docker:/var/run/docker.sock", "not the URL of a container engine"),
        ("a=docker:unix://docker.sock", "not the URL of a container engine"),
        ("a=docker:ssh://host", "not the URL of a container engine"),
        ("a=docker:tcp://", "not the URL of a container engine"),
        ("a=docker:tcp://host:2375?net=host", "is no option of a docker region; there is: network"),
        ("a=docker:tcp://host:2375?network=", "needs one value"),
        ("a=docker:tcp://host:2375?network=a&network=b", "needs one value"),
        ("a=docker:tcp://host:2375?network", "is not a list of options"),
    ],
)
def test_nonsense_is_named(text: str, complaint: str) -> None:
    """A mistake in the setting is said when the worker starts, with what is wrong."""
    with pytest.raises(ValueError, match=complaint):
        regions.parse(text)
