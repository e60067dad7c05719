"""`/metrics` alone, for a process that answers nothing else."""

from fastapi import FastAPI

from oneiro import http
from oneiro.auth import Tokens
from oneiro.metrics import Metrics
from oneiro.monitoring import routes
from oneiro.monitoring.middleware import Measured
from oneiro.monitoring.service import Monitoring


def create_app(monitoring: Monitoring, metrics: Metrics, tokens: Tokens) -> FastAPI:
    """What a scraper may ask of such a process; open to the same callers as where the API is served."""
    app = FastAPI(
        title="Oneiro",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.monitoring, app.state.tokens = monitoring, http.RememberedTokens(tokens)
    http.install_problems(app)
    app.add_middleware(http.Faults)
    app.add_middleware(Measured, metrics=metrics)
    app.include_router(routes.router)
    return app
