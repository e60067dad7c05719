"""The yardstick: the same server and pool with an endpoint that does one durable insert and nothing else."""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    uvicorn.run(create_bare(os.environ["BENCH_DATABASE_URL"]), port=port, log_level="warning", access_log=False)
