"""Errors that say what the caller can do; `app` renders them as RFC 9457 problem documents.

OneiroError
├── ValidationError 422      ├── Conflict 409             ├── CircuitBreakerOpenError 503
├── NotFound 404             ├── TooMany 429              ├── AgentCreationError 502
├── Unauthenticated 401      ├── PlatformUnavailable 503  └── ConversationError 500
├── SecurityError 403        └── TooLarge 413
SetupError: wrong surroundings of a command; one line on stderr and exit 1, never an HTTP answer.
"""

from typing import Any, ClassVar


class OneiroError(Exception):
    """An error with a sentence for the caller.

    `detail` never holds what a dreamer said. `retry_after` is in seconds; `errors` lists single fields as
    `{"field": …, "message": …}`.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"
    code: str = "internal_error"
    retryable: bool = False

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.retryable = self.retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.errors = errors


class ValidationError(OneiroError):
    """The input breaks a rule that `detail` or `errors` names."""

    status = 422
    title = "The input is not valid"
    code = "invalid_input"


class NotFound(OneiroError):
    """There is no such thing, or it belongs to someone else."""

    status = 404
    title = "Not found"
    code = "not_found"


class Unauthenticated(OneiroError):
    """The token is missing, damaged or expired."""

    status = 401
    title = "Please sign in"
    code = "unauthenticated"


class SecurityError(OneiroError):
    """The caller is known and may not do this."""

    status = 403
    title = "Not allowed"
    code = "forbidden"


class Conflict(OneiroError):
    """The thing is in a state that does not allow this."""

    status = 409
    title = "That does not fit the present state"
    code = "conflict"


class TooLarge(OneiroError):
    """The body is larger than its bound."""

    status = 413
    title = "The body is too large"
    code = "too_large"


class TooMany(OneiroError):
    """A limit is reached; `retry_after` says when to come back."""

    status = 429
    title = "Too many requests"
    code = "rate_limited"
    retryable = True


class PlatformUnavailable(OneiroError):
    """The voice platform did not answer or answered with a fault of its own."""

    status = 503
    title = "The voice platform is not available"
    code = "platform_unavailable"
    retryable = True


class PlatformBusy(PlatformUnavailable):
    """The voice platform is well and has no room for this call just now (429)."""

    title = "The voice platform is busy"
    code = "platform_busy"


class CircuitBreakerOpenError(PlatformUnavailable):
    """The breaker is open: the call was not tried."""

    title = "The voice platform is resting after repeated faults"


class AgentCreationError(OneiroError):
    """The platform refused or failed to create an agent."""

    status = 502
    title = "The interpreter could not be prepared"
    code = "agent_creation_failed"
    retryable = True


class ConversationError(OneiroError):
    """A conversation could not be started or carried on."""

    status = 500
    title = "The conversation failed"
    code = "conversation_start_failed"


class SetupError(Exception):
    """The surroundings of a command are wrong; the message is one line that says what to do."""
