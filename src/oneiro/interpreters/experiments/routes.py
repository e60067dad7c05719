"""`/v1/admin/experiments`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from oneiro.http import Cursor, ListOf, Operator, Paged, part
from oneiro.interpreters.experiments.models import Experiment, ExperimentPlan, Promotion
from oneiro.interpreters.experiments.results import Results
from oneiro.interpreters.experiments.service import Experiments

router = APIRouter(prefix="/admin/experiments", tags=["operators: experiments"])


Service = Annotated[Experiments, part("experiments")]


@router.get("")
async def list_experiments(
    caller: Operator,
    experiments: Service,
    page: Paged,
    interpreter: Annotated[str | None, Query(max_length=64, description="Only this interpreter's.")] = None,
) -> ListOf[Experiment]:
    """Experiments, the newest first."""
    items = await experiments.list(interpreter, page.limit, page.cursor)
    more = len(items) == page.limit
    return ListOf(items=items, next_cursor=Cursor(items[-1].created_at, str(items[-1].id)).encode() if more else None)


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_experiment(caller: Operator, experiments: Service, plan: ExperimentPlan) -> Experiment:
    """Write an experiment down; it begins with `start`."""
    return await experiments.create(caller, plan)


@router.get("/{experiment_id}")
async def read_experiment(caller: Operator, experiments: Service, experiment_id: UUID) -> Experiment:
    """One experiment."""
    return await experiments.read(experiment_id)


@router.post("/{experiment_id}/start")
async def start_experiment(caller: Operator, experiments: Service, experiment_id: UUID) -> Experiment:
    """Provision the arms' agents and begin to assign dreamers."""
    return await experiments.start(experiment_id)


@router.post("/{experiment_id}/stop")
async def stop_experiment(caller: Operator, experiments: Service, experiment_id: UUID) -> Experiment:
    """End it; everybody gets the default release again."""
    return await experiments.stop(experiment_id)


@router.post("/{experiment_id}/promote")
async def promote_arm(caller: Operator, experiments: Service, experiment_id: UUID, promotion: Promotion) -> Experiment:
    """Make an arm's release the default and end the experiment."""
    return await experiments.promote(experiment_id, promotion.arm)


@router.get("/{experiment_id}/results")
async def read_results(caller: Operator, experiments: Service, experiment_id: UUID) -> Results:
    """What came of it so far, with intervals, the check of the split, and a verdict."""
    return await experiments.results(experiment_id)
