"""The guide's own way to start a conversation, rebuilt plainly: an agent per interpreter, dreamer and dream.

What its ConversationManager and AgentFactory do, step by step: a row, the context, the voice (designed once for an
interpreter), an agent made for this dreamer and dream and kept in this process's memory for an hour, a signed URL, the
row again; the agent is deleted when the conversation ends. The server, pool, SDK and engine are those of the other
programs here; its events, metrics and breaker are left out, which is to its advantage.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString
from uuid import UUID, uuid4

import httpx
from bare import serve
from elevenlabs.client import AsyncElevenLabs
from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from oneiro.cli.listen import run
from oneiro.interpreters.prompts import render_system
from oneiro.interpreters.seed import seeds
from oneiro.safety.protocol import CRISIS_PROTOCOL

HOUR = 3600.0
TOGETHER = 20
TABLE = """
CREATE TABLE IF NOT EXISTS guide_conversations (
    id text PRIMARY KEY, user_id uuid NOT NULL, interpreter_id text NOT NULL, dream_id uuid, status text NOT NULL,
    elevenlabs_agent_id text, started_at timestamptz, ended_at timestamptz, session_metadata jsonb
)
"""


class StartRequest(BaseModel):
    user_id: UUID
    interpreter_id: str
    dream_id: UUID


class AgentFactory:
    """Agents and voices, remembered by this process alone."""

    def __init__(self, client: AsyncElevenLabs) -> None:
        self._client = client
        self._documents = {document.id: document for document in seeds()}
        self._voices: dict[str, str] = {}
        self._agents: dict[str, tuple[str, float]] = {}

    async def create_or_get(self, request: StartRequest, context: dict[str, Any]) -> tuple[str, bool]:
        key = f"agent:{request.interpreter_id}:{request.user_id}:{request.dream_id}"
        agent_id, expires = self._agents.get(key, ("", 0.0))
        if expires > time.monotonic():
            return agent_id, True
        document = self._documents[request.interpreter_id]
        assert document.voice is not None
        prompt = f"{render_system(document, CRISIS_PROTOCOL)}\n\nThe dream:\n{context['content']}"
        voice_id = await self._voice(request.interpreter_id)
        made = await self._client.conversational_ai.agents.create(
            name=f"{document.full_name} - Session {uuid4()}",
            conversation_config={
                "agent": {
                    "prompt": {"prompt": prompt, "llm": "gpt-4o", "temperature": 0.7, "max_tokens": 250},
                    "first_message": f"Hello {context['name']}, I'm {document.name}.",
                    "language": "en",
                },
                "tts": {"voice_id": voice_id, "stability": document.voice.stability},
            },
        )
        self._agents[key] = (made.agent_id, time.monotonic() + HOUR)
        return made.agent_id, False

    async def _voice(self, interpreter_id: str) -> str:
        if interpreter_id not in self._voices:
            voice_config = self._documents[interpreter_id].voice
            assert voice_config is not None
            description = voice_config.voice_description or ""
            previews = await self._client.text_to_voice.create_previews(
                voice_description=description,
                text="Hello, I am here to walk through your dreams with you, and to listen for what they may mean. "
                * 2,
            )
            voice = await self._client.text_to_voice.create(
                voice_name=f"{interpreter_id}_voice",
                voice_description=description,
                generated_voice_id=previews.previews[0].generated_voice_id,
            )
            self._voices[interpreter_id] = voice.voice_id
        return self._voices[interpreter_id]

    async def clean_up(self, agent_id: str) -> None:
        await self._client.conversational_ai.agents.delete(agent_id)
        self._agents = {key: kept for key, kept in self._agents.items() if kept[0] != agent_id}


def create_guide_design(database_url: str, engine_url: str) -> FastAPI:
    pool = AsyncConnectionPool(
        database_url,
        connection_class=AsyncConnection[dict[str, Any]],
        min_size=1,
        max_size=16,
        open=False,
        kwargs={"autocommit": True, "row_factory": dict_row},
    )
    http = httpx.AsyncClient(trust_env=False, timeout=30)
    client = AsyncElevenLabs(base_url=engine_url, api_key="bench", httpx_client=http)
    factory = AgentFactory(client)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with pool, http:
            await execute(TABLE)
            yield

    async def execute(statement: LiteralString, *values: object) -> list[dict[str, Any]]:
        async with pool.connection() as conn:
            cursor = await conn.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    app = FastAPI(lifespan=lifespan)

    @app.post("/conversations", status_code=201)
    async def start(request: StartRequest) -> dict[str, Any]:
        conversation_id = f"conv_{uuid4().hex}"
        await execute(
            "INSERT INTO guide_conversations (id, user_id, interpreter_id, dream_id, status)"
            " VALUES (%s, %s, %s, %s, 'initializing')",
            *(conversation_id, request.user_id, request.interpreter_id, request.dream_id),
        )
        (context,) = await execute(
            "SELECT p.name, d.title, d.content, d.symbols, d.interpretation"
            " FROM profiles AS p JOIN dreams AS d USING (user_id) WHERE d.id = %s",
            request.dream_id,
        )
        agent_id, cached = await factory.create_or_get(request, context)
        signed = await client.conversational_ai.conversations.get_signed_url(agent_id=agent_id)
        await execute(
            "UPDATE guide_conversations SET status = 'active', elevenlabs_agent_id = %s, started_at = now(),"
            " session_metadata = %s WHERE id = %s",
            *(agent_id, Jsonb({"fromCache": cached}), conversation_id),
        )
        return {"conversation_id": conversation_id, "signed_url": signed.signed_url, "agent_id": agent_id}

    @app.post("/end")
    async def end() -> dict[str, int]:
        """End every conversation: the bench does it between its measurements."""
        rows = await execute(
            "WITH ended AS (UPDATE guide_conversations SET status = 'completed', ended_at = now()"
            " WHERE status = 'active' RETURNING elevenlabs_agent_id) SELECT DISTINCT elevenlabs_agent_id FROM ended"
        )
        gate = asyncio.Semaphore(TOGETHER)

        async def gone(agent_id: str) -> None:
            async with gate:
                await factory.clean_up(agent_id)

        await asyncio.gather(*(gone(row["elevenlabs_agent_id"]) for row in rows))
        return {"deleted": len(rows)}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("engine_url")
    options = parser.parse_args()
    run(serve(create_guide_design(os.environ["BENCH_DATABASE_URL"], options.engine_url), options.port))
