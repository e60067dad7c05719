"""An experiment as operators plan and see it, and what a conversation's start needs of it."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from oneiro import text
from oneiro.interpreters.models import InterpreterId, Release

Status = Literal["draft", "running", "stopped", "promoted"]
MAX_ARMS = 8
MAX_NAME, MAX_NOTE = 80, 500


def _name(value: str) -> str:
    return text.bounded(value, field="name", limit=MAX_NAME)


def _note(value: str) -> str:
    return text.bounded(value, field="note", limit=MAX_NOTE, empty=True)


Name = Annotated[str, AfterValidator(_name)]


class Body(BaseModel):
    """What operators send: known fields only."""

    model_config = ConfigDict(extra="forbid")


class Eligibility(Body):
    """Who takes part; the others get the default release and are not counted."""

    languages: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="Languages of conversations that take part; null: all that are offered."
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Share of the dreamers who take part.")


class ArmPlan(Body):
    """An arm to be."""

    name: Name
    release: Annotated[int, Field(ge=1)] = Field(description="Number of the release that this arm gets.")
    weight: Annotated[float, Field(gt=0, le=1)] = Field(description="Share of those who take part; all sum to 1.")
    control: bool = Field(default=False, description="The arm that others are compared with; default: the first.")


class ExperimentPlan(Body):
    """An experiment to be."""

    interpreter_id: InterpreterId
    name: Name
    note: Annotated[str, AfterValidator(_note)] = ""
    eligibility: Eligibility = Eligibility()
    arms: Annotated[list[ArmPlan], Field(min_length=2, max_length=MAX_ARMS)]

    @model_validator(mode="after")
    def _arms_fit_together(self) -> "ExperimentPlan":
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("arms: two arms have the same name")
        total = math.fsum(arm.weight for arm in self.arms)
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"arms: the weights sum to {total:g}; they must sum to 1")
        controls = [arm for arm in self.arms if arm.control]
        if len(controls) > 1:
            raise ValueError("arms: only one arm can be the control")
        if not controls:
            self.arms[0].control = True
        return self


class Promotion(Body):
    """Which arm won."""

    arm: Name


class Arm(BaseModel):
    """An arm."""

    id: UUID
    name: str
    release: int = Field(description="Number of the release that this arm gets.")
    weight: float
    control: bool


class Experiment(BaseModel):
    """An experiment."""

    id: UUID
    interpreter_id: str
    name: str
    note: str
    status: Status
    eligibility: Eligibility
    arms: list[Arm] = Field(description="The control first.")
    created_by: str
    created_at: datetime
    started_at: datetime | None
    default_at_start: int | None = Field(description="Number of the default release when it began.")
    stopped_at: datetime | None

    @property
    def control(self) -> Arm:
        """The arm that others are compared with."""
        return next(arm for arm in self.arms if arm.control)

    def arm(self, name: str) -> Arm | None:
        """The arm of this name."""
        return next((arm for arm in self.arms if arm.name == name), None)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The release that a conversation starts with, and the arm that it counts for, if any."""

    release: Release
    arm_id: UUID | None = None
    arm: str | None = None
