"""Errors in the shapes that the platform uses (elevenlabs.io/docs/eleven-api/resources/errors)."""

import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class Refusal(Exception):
    """A request that is refused, with the platform's body `{"detail":{type,code,message,status,request_id}}`."""

    def __init__(self, status: int, code: str, message: str, kind: str = "validation_error") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.kind = status, code, message, kind

    def body(self) -> dict[str, object]:
        """The body; `status` repeats `code`, as older clients read it."""
        detail = {"type": self.kind, "code": self.code, "message": self.message, "status": self.code}
        return {"detail": {**detail, "request_id": secrets.token_hex(12)}}


def not_found(kind: str, identifier: str) -> Refusal:
    """404 for an agent, a conversation or a voice that is not known here."""
    message = f"{kind.capitalize()} with id {identifier[:80]} was not found."
    return Refusal(404, f"{kind}_not_found", message, "not_found")


def invalid(loc: tuple[str, ...], message: str, kind: str) -> RequestValidationError:
    """A 422 in FastAPI's shape for a rule that spans several fields."""
    return RequestValidationError([{"loc": loc, "msg": message, "type": kind}])


def install(app: FastAPI) -> None:
    """Answer every error in the platform's shape; validation errors never echo what was sent."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)
        return JSONResponse(error.body(), error.status)

    async def unprocessable(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        detail = [{key: each[key] for key in ("loc", "msg", "type")} for each in error.errors()]
        return JSONResponse({"detail": detail}, 422)

    async def plain(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, unprocessable)
    app.add_exception_handler(HTTPException, plain)
