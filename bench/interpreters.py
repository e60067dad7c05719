"""Figures of interpreters in one process: rendering, compiling, drawing an arm, remembering last time."""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from oneiro.interpreters import grammar, prompts, templates
from oneiro.interpreters.experiments.draw import drawn
from oneiro.interpreters.seed import seeds
from oneiro.interpreters.variables import DreamMaterial, conversation_values
from oneiro.interpreters.words.recall import last_time
from oneiro.interpreters.words.store import Recalled
from oneiro.safety.protocol import CRISIS_PROTOCOL

CARL = next(document for document in seeds() if document.id == "carl")
DREAM = DreamMaterial(
    text="I stood in a lift that went sideways. " * 20, title="The lift", symbols=("lift", "corridor")
)
NOW = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
SAID = [
    "I was walking through my grandmother's house and the rooms kept getting longer.",
    "There was a black dog at the end of the corridor and it looked at me.",
    "It felt sad, as if it had been waiting for years.",
] * 4


def micros(name: str, work: Callable[[], object], times: int) -> None:
    """Print p50 and p99 of one call in microseconds, after a warm-up."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter_ns()
        work()
        taken.append((time.perf_counter_ns() - began) / 1000)
    taken.sort()
    print(f"{name:<44} p50 {statistics.median(taken):9.1f} µs   p99 {taken[int(times * 0.99)]:9.1f} µs")


def values() -> dict[str, str]:
    return conversation_values(conversation_id=str(UUID(int=1)), now=NOW, user_name="Ольга", dream=DREAM)


def main() -> None:
    print(f"Python {sys.version.split()[0]}, {platform.machine()}, {platform.system()}")
    ready = values()
    system = CARL.prompt("system")
    assert system is not None
    recalled = Recalled(summary=None, language="en", safety_tier="none", said=SAID)
    micros("an opening rendered (template cached)", lambda: prompts.render_spoken(CARL, "greeting", ready), 5000)
    micros("the values of a conversation", values, 5000)
    micros("a system prompt rendered (once a release)", lambda: prompts.render_system(CARL, CRISIS_PROTOCOL), 500)
    micros("a system prompt checked and compiled", lambda: templates.compiled(system, CARL.prompts), 200)
    micros("a system prompt checked alone", lambda: grammar.checked(system, CARL.prompts), 200)
    micros("a document validated (publish)", lambda: prompts.validate(CARL), 50)
    micros("an arm drawn", lambda: drawn("salt", UUID(int=7), share=1.0, weights=[0.5, 0.5]), 5000)
    micros("a few words of last time (12 lines)", lambda: last_time(recalled), 50)


if __name__ == "__main__":
    main()
