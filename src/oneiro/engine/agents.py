"""Agents and their versions: a PATCH merges and commits a new version, as every agent of the platform is versioned."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oneiro.engine.documents import AgentCreate, AgentDocument, AgentPatch
from oneiro.engine.paging import page
from oneiro.engine.problems import Refusal, not_found

MOST_AGENTS = 10_000
MOST_VERSIONS = 100
"""Versions kept of an agent; the oldest goes first."""


@dataclass(frozen=True)
class Version:
    """One committed document of an agent."""

    version_id: str
    number: int
    document: AgentDocument
    description: str
    committed: float
    parent: str | None


@dataclass
class Agent:
    """An agent: its identity and its versions, the newest last."""

    agent_id: str
    branch_id: str
    created: float
    versions: list[Version] = field(default_factory=list)
    last_call: float | None = None

    @property
    def current(self) -> Version:
        """The version that new conversations use."""
        return self.versions[-1]

    @property
    def document(self) -> AgentDocument:
        """The document of the current version."""
        return self.current.document

    def version(self, version_id: str | None) -> Version:
        """The named version, or the current one; 404 when it is not known."""
        if version_id is None:
            return self.current
        for version in self.versions:
            if version.version_id == version_id:
                return version
        raise not_found("version", version_id)

    def commit(self, document: AgentDocument, description: str, now: float) -> None:
        """Add a version and forget the oldest beyond the bound."""
        number = self.versions[-1].number + 1 if self.versions else 1
        parent = self.versions[-1].version_id if self.versions else None
        version_id = f"agtvrsn_{secrets.token_hex(14)}"
        self.versions.append(Version(version_id, number, document, description, now, parent))
        del self.versions[:-MOST_VERSIONS]

    def body(self, version: Version) -> dict[str, Any]:
        """The body of GET /v1/convai/agents/{id}."""
        return {
            "agent_id": self.agent_id,
            **version.document.model_dump(mode="json"),
            "metadata": {"created_at_unix_secs": int(self.created), "updated_at_unix_secs": int(version.committed)},
            "phone_numbers": [],
            "whatsapp_accounts": [],
            "access_info": ACCESS,
            "version_id": version.version_id,
            "branch_id": self.branch_id,
            "main_branch_id": self.branch_id,
            "procedures": {},
        }

    def summary(self) -> dict[str, Any]:
        """The agent as a row of a list."""
        return {
            "agent_id": self.agent_id,
            "name": self.document.name,
            "voice_id": self.document.conversation_config.tts.voice_id,
            "tags": self.document.tags,
            "created_at_unix_secs": int(self.created),
            "updated_at_unix_secs": int(self.current.committed),
            "access_info": ACCESS,
            "last_call_time_unix_secs": None if self.last_call is None else int(self.last_call),
            "archived": self.document.platform_settings.archived,
        }


ACCESS = {"is_creator": True, "creator_name": "engine", "creator_email": "engine@localhost", "role": "admin"}


@dataclass(frozen=True)
class AgentFilter:
    """What a list asks for."""

    search: str | None = None
    archived: bool | None = None
    tags: tuple[str, ...] = ()

    def admits(self, agent: Agent) -> bool:
        """Whether the agent belongs in the list: name contains the words, archived as asked, any of the tags."""
        document = agent.document
        if self.search and self.search.casefold() not in document.name.casefold():
            return False
        if self.archived is not None and self.archived != document.platform_settings.archived:
            return False
        return not self.tags or bool(set(self.tags) & set(document.tags))


class Agents:
    """The agents of one engine."""

    def __init__(self) -> None:
        self._by_id: dict[str, Agent] = {}

    def create(self, body: AgentCreate, now: float) -> Agent:
        """A new agent with what was sent and the platform's defaults."""
        sent = {key: value for key, value in body.model_dump(exclude_unset=True).items() if value is not None}
        return self._add(AgentDocument.model_validate(sent), now)

    def duplicate(self, agent_id: str, name: str | None, now: float) -> Agent:
        """A copy of an agent under another id."""
        document = self.get(agent_id).document
        return self._add(document.model_copy(update={"name": name or f"{document.name} (copy)"}), now)

    def _add(self, document: AgentDocument, now: float) -> Agent:
        if len(self._by_id) >= MOST_AGENTS:
            raise Refusal(400, "agent_limit_reached", f"This engine keeps at most {MOST_AGENTS} agents.")
        agent = Agent(f"agent_{secrets.token_hex(14)}", f"agtbrch_{secrets.token_hex(14)}", now)
        agent.commit(document, "", now)
        self._by_id[agent.agent_id] = agent
        return agent

    def get(self, agent_id: str) -> Agent:
        """The agent; 404 when it is not known here."""
        agent = self._by_id.get(agent_id)
        if agent is None:
            raise not_found("agent", agent_id)
        return agent

    def find(self, agent_id: str | None) -> Agent | None:
        """The agent, or None."""
        return self._by_id.get(agent_id or "")

    def patch(self, agent_id: str, body: AgentPatch, now: float) -> Agent:
        """Merge the keys that were sent into the current document and commit it as a new version."""
        agent = self.get(agent_id)
        sent = body.model_dump(exclude_unset=True, exclude={"version_description"})
        merged = _merge(agent.document.model_dump(), {k: v for k, v in sent.items() if v is not None})
        agent.commit(AgentDocument.model_validate(merged), body.version_description or "", now)
        return agent

    def delete(self, agent_id: str) -> None:
        """Forget an agent; its conversations stay."""
        del self._by_id[self.get(agent_id).agent_id]

    def page(
        self, wanted: AgentFilter, *, size: int, cursor: str | None, by_name: bool, descending: bool
    ) -> tuple[list[Agent], str | None]:
        """One page of the agents wanted, by name or by the time of creation."""
        found = [agent for agent in self._by_id.values() if wanted.admits(agent)]

        def key(agent: Agent) -> tuple[str | int, str]:
            return (agent.document.name if by_name else int(agent.created * 1e6)), agent.agent_id

        return page(found, key, size=size, cursor=cursor, descending=descending)


def _merge(base: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`patch` laid over `base`; objects merge, everything else replaces."""
    merged = dict(base)
    for key, value in patch.items():
        before = merged.get(key)
        merged[key] = _merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
