"""Endpoints and deliveries as operators send and see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from oneiro import text
from oneiro.breaker import State
from oneiro.events.models import EventType

DeliveryState = Literal["pending", "delivered", "dead"]
MAX_URL, MAX_DESCRIPTION = 2000, 200
MOST_OVERLAP = 7 * 86_400


def _description(value: str) -> str:
    return text.bounded(value, field="description", limit=MAX_DESCRIPTION, empty=True)


Url = Annotated[str, Field(min_length=1, max_length=MAX_URL, description="Where events are posted to.")]
Description = Annotated[str, AfterValidator(_description)]
EventTypes = Annotated[list[EventType], Field(max_length=100, description="Events that are wanted; empty: all.")]


class Body(BaseModel):
    """What operators send: known fields only."""

    model_config = ConfigDict(extra="forbid")


class NewEndpoint(Body):
    """An endpoint to be."""

    url: Url
    description: Description = ""
    event_types: EventTypes = []


class EndpointChange(Body):
    """What is to change of an endpoint; what is left out stays."""

    url: Url | None = None
    description: Description | None = None
    event_types: EventTypes | None = None
    is_active: bool | None = Field(None, description="False: nothing more is sent; true: from now on.")


class Rotation(Body):
    """A new secret; the old one signs as well for so many seconds."""

    overlap_seconds: int = Field(86_400, ge=0, le=MOST_OVERLAP)


class Endpoint(BaseModel):
    """Where events are posted to; its secret is shown once, when it is made."""

    id: UUID
    url: str
    description: str
    event_types: list[str]
    is_active: bool
    consecutive_failures: int = Field(description="Attempts that failed since the last that did not.")
    last_success_at: datetime | None
    breaker: State = Field(description="`open`: it failed five times in a row and is left alone for half a minute.")
    rests_until: datetime | None = Field(description="When one delivery at a time is tried again; null: it is closed.")
    disabled_at: datetime | None
    disabled_reason: str | None = Field(description="`failing`: nothing got through for a day; `gone`: it said so.")
    previous_secret_until: datetime | None
    created_by: str
    created_at: datetime
    updated_at: datetime


class EndpointWithSecret(Endpoint):
    """An endpoint with its secret, which is not shown again."""

    secret: str


class Attempt(BaseModel):
    """One attempt to deliver."""

    at: datetime
    ms: int
    status: int | None = Field(description="Status of the answer; null: there was none.")
    error: str | None = Field(description="`timeout`, `connection`, `tls`, `address`, `name` or `status`.")


class Delivery(BaseModel):
    """One event for one endpoint."""

    id: UUID
    event_id: UUID
    event_type: str
    position: int
    state: DeliveryState
    attempts: int = Field(description="Attempts since it was due first, or since it was sent again.")
    next_attempt_at: datetime | None
    attempt_log: list[Attempt] = Field(description="The last attempts, the oldest first.")
    created_at: datetime
    delivered_at: datetime | None


class Redelivery(Body):
    """Which deliveries are to be made again: those given up since a time."""

    since: AwareDatetime


class Requeued(BaseModel):
    """How many deliveries are due again."""

    requeued: int
