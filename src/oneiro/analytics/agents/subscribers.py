"""The consumer that measures agents."""

from typing import Final

from oneiro.analytics.agents.service import MEASURES, measure
from oneiro.events.consumers import Consumer

CONSUMER: Final = Consumer("agent_metrics", tuple(MEASURES), measure, together=20)
