"""The base of every value that is stored in the engine or sent through it.

These models outlive the release that wrote them: optional fields may be added, none removed or renamed
(`tests/unit/test_wire_format.py` holds them to it), so unknown fields are ignored when reading.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Durable(BaseModel):
    """A frozen value in the engine's state or messages."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Role(StrEnum):
    """What a key may do; each role includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class Actor(Durable):
    """Who asks: the person behind an API key, in one workspace."""

    workspace: str
    key: str
    person: str
    role: Role
