"""Images from source: where an uploaded tarball waits, what is built from it, and the log of that."""

from pathlib import Path

from lifecycle import resources
from lifecycle.deploy import store
from lifecycle.deploy.launch import Launch
from lifecycle.deploy.model import Spec
from lifecycle.deploy.platforms.platform import Builder, Refused
from lifecycle.settings import Settings


def source_of(settings: Settings, deployment: str) -> Path:
    """The tarball of a deployment."""
    return settings.deploy_source_folder / f"{deployment}.tar"


def log_of(settings: Settings, deployment: str) -> Path:
    """What its build printed."""
    return settings.deploy_source_folder / f"{deployment}.log"


async def build(spec: Spec, refused: str = "") -> Launch:
    """Build the image of a deployment in every region that runs it.

    Args:
        spec: what is deployed.
        refused: why there is nothing to build; the verdict then.

    Raises:
        PlatformDownError: a platform does not answer.
    """
    if refused:
        return Launch(refused=refused)
    available = resources.current()
    tag = f"lifecycle/{spec.slug}:{spec.id}"
    for region in spec.regions:
        platform = available.platforms.get(region)
        if platform is None or not isinstance(platform, Builder):
            return Launch(refused=f"The region {region} does not build images; deploy one that is built.")
        built = await platform.build(
            tag=tag, source=source_of(available.settings, spec.id), log=log_of(available.settings, spec.id)
        )
        if isinstance(built, Refused):
            return Launch(refused=built.why)
    await store.set_image(available.db, spec.id, tag)
    source_of(available.settings, spec.id).unlink(missing_ok=True)
    return Launch()
