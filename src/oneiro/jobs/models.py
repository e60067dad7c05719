"""A job as the runner takes it, and as operators see it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field

JobState = Literal["queued", "running", "done", "dead"]

Services = TypeVar("Services")
JobFunction = Callable[[Services, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this process holds; `attempts` counts this one."""

    id: UUID
    kind: str
    payload: Mapping[str, Any]
    attempts: int
    max_attempts: int


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job that is due once in each period of `every` seconds, counted from 1970, on one replica."""

    kind: str
    every: float


class Job(BaseModel):
    """A job as operators see it."""

    id: UUID
    kind: str
    payload: dict[str, Any] = Field(description="Ids only.")
    state: JobState
    run_at: datetime
    attempts: int
    max_attempts: int
    dedupe_key: str | None
    lease_owner: str | None
    lease_until: datetime | None
    last_error: str | None = Field(description="The last fault's class and code, never its text.")
    created_at: datetime
    finished_at: datetime | None
