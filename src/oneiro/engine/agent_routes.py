"""Routes under /v1/convai/agents."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from oneiro.engine.agents import Agent, AgentFilter
from oneiro.engine.documents import AgentCreate, AgentPatch, Duplicate
from oneiro.engine.state import EngineOf

router = APIRouter(prefix="/v1/convai/agents")


@router.post("/create")
async def create_agent(body: AgentCreate, engine: EngineOf) -> dict[str, str]:
    """Create an agent; keys that the platform does not know are dropped."""
    return {"agent_id": engine.agents.create(body, engine.now()).agent_id}


@router.get("")
async def list_agents(
    engine: EngineOf,
    *,
    page_size: Annotated[int, Query(ge=1, le=100)] = 30,
    search: str | None = None,
    archived: bool | None = None,
    tags: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it for each request.
    sort_by: Literal["name", "created_at", "call_count_7d"] = "created_at",
    sort_direction: Literal["asc", "desc"] = "desc",
    cursor: str | None = None,
) -> dict[str, Any]:
    """One page of the agents."""
    agents, following = engine.agents.page(
        AgentFilter(search, archived, tuple(tags)),
        size=page_size,
        cursor=cursor,
        by_name=sort_by == "name",
        descending=sort_direction == "desc",
    )
    rows = [agent.summary() for agent in agents]
    return {"agents": rows, "next_cursor": following, "has_more": following is not None}


@router.get("/{agent_id}")
async def get_agent(agent_id: str, engine: EngineOf, version_id: str | None = None) -> dict[str, Any]:
    """An agent as it stands, or one of its versions."""
    agent = engine.agents.get(agent_id)
    return agent.body(agent.version(version_id))


@router.patch("/{agent_id}")
async def patch_agent(agent_id: str, body: AgentPatch, engine: EngineOf) -> dict[str, Any]:
    """Merge what was sent into the agent and commit a version."""
    agent = engine.agents.patch(agent_id, body, engine.now())
    return agent.body(agent.current)


@router.delete("/{agent_id}")
async def delete_agent(agent_id: str, engine: EngineOf) -> None:
    """Forget an agent; conversations that run go on."""
    engine.agents.delete(agent_id)


@router.post("/{agent_id}/duplicate")
async def duplicate_agent(agent_id: str, body: Duplicate, engine: EngineOf) -> dict[str, str]:
    """Copy an agent."""
    return {"agent_id": engine.agents.duplicate(agent_id, body.name, engine.now()).agent_id}


@router.get("/{agent_id}/versions/{version_id}")
async def get_version(agent_id: str, version_id: str, engine: EngineOf) -> dict[str, Any]:
    """What is known of one version: its number on the branch and its parent."""
    agent = engine.agents.get(agent_id)
    version = agent.version(version_id)
    return {
        "id": version.version_id,
        "agent_id": agent_id,
        "branch_id": agent.branch_id,
        "version_description": version.description,
        "seq_no_in_branch": version.number,
        "time_committed_secs": int(version.committed),
        "parents": {"in_branch_parent_id": version.parent, "out_of_branch_parent_id": None},
    }


@router.get("/{agent_id}/branches")
async def list_branches(agent_id: str, engine: EngineOf) -> dict[str, Any]:
    """The one branch that an agent has here."""
    agent = engine.agents.get(agent_id)
    return {"results": [_branch(agent)], "meta": {"total": 1, "page": 1, "page_size": 1}}


def _branch(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.branch_id,
        "name": "Main",
        "agent_id": agent.agent_id,
        "description": "",
        "created_at": int(agent.created),
        "last_committed_at": int(agent.current.committed),
        "is_archived": False,
        "protection_status": "writer_perms_required",
        "current_live_percentage": 100.0,
    }
