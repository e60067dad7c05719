"""The yardstick: the same server and pool with an endpoint that does one durable insert and nothing else."""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel
from starlette.types import ASGIApp

from oneiro.cli.listen import bind, listening, run

TABLE = """
CREATE TABLE IF NOT EXISTS bare (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), content text NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
)
"""


class Line(BaseModel):
    content: str


def create_bare(url: str) -> FastAPI:
    pool = AsyncConnectionPool(url, min_size=1, max_size=16, open=False, kwargs={"autocommit": True})

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with pool:
            async with pool.connection() as conn:
                await conn.execute(TABLE)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/insert", status_code=202)
    async def insert(line: Line) -> dict[str, int]:
        async with pool.connection() as conn:
            await conn.execute("INSERT INTO bare (content) VALUES (%s)", (line.content,))
        return {"stored": 1}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


async def serve(app: ASGIApp, port: int) -> None:
    """Serve as `oneiro serve` does: the same loop, the same reader of requests, the same options."""
    async with listening(app, bind("127.0.0.1", port, what="the bench")) as served:
        await served.task


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    run(serve(create_bare(os.environ["BENCH_DATABASE_URL"]), port))
