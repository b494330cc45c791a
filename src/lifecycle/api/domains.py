"""/v1/projects/{project}/domains: the host names of a project."""

from typing import Annotated

from fastapi import APIRouter, Path

from lifecycle.api.context import ActorOf, Context, ContextOf, require
from lifecycle.api.projects import ProjectRef
from lifecycle.api.shapes.deployments import DomainAnswer, DomainList, NewDomain
from lifecycle.deploy import domains, routing_store
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.routing import CustomDomain
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Actor, Role
from lifecycle.scheduler import store

router = APIRouter(prefix="/v1/projects/{project}/domains", tags=["domains"])


@router.post("", status_code=201, summary="Add a domain")
async def add(project: ProjectRef, body: NewDomain, context: ContextOf, actor: ActorOf) -> DomainAnswer:
    """Gives the project a domain, served by what is live in its environment. Needs the role operator.

    A domain of another project is never taken.
    """
    require(actor, Role.OPERATOR)
    project_id = await _project(context, actor, project)
    hostname = domains.custom(body.domain, apex=context.settings.deploy_apex)
    await context.client.add_domain(project_id, CustomDomain(hostname=hostname, environment=body.environment))
    return await _find(context, project_id, hostname)


@router.get("", summary="List domains")
async def list_all(project: ProjectRef, context: ContextOf, actor: ActorOf) -> DomainList:
    """Lists every host name of the project, given by itself or brought along."""
    project_id = await _project(context, actor, project)
    return DomainList(items=tuple(_answer(route) for route in await routing_store.routes(context.db, project_id)))


@router.delete("/{domain}", status_code=204, summary="Remove a domain")
async def remove(
    project: ProjectRef,
    domain: Annotated[str, Path(max_length=300, description="A domain that was added.", examples=["www.example.com"])],
    context: ContextOf,
    actor: ActorOf,
) -> None:
    """Takes a domain away from the project that was added to it. Needs the role operator."""
    require(actor, Role.OPERATOR)
    project_id = await _project(context, actor, project)
    hostname = domains.custom(domain, apex=context.settings.deploy_apex)
    found = await _find(context, project_id, hostname)
    await context.client.remove_domain(project_id, CustomDomain(hostname=found.domain, environment=found.environment))


async def _project(context: Context, actor: Actor, reference: str) -> str:
    row = await store.find_project(context.db, workspace=actor.workspace, reference=reference)
    if row is None:
        raise LifecycleError(Code.PROJECT_NOT_FOUND)
    return row.id


async def _find(context: Context, project: str, hostname: str) -> DomainAnswer:
    for route in await routing_store.routes(context.db, project):
        if route.hostname == hostname and route.kind is Kind.CUSTOM:
            return _answer(route)
    raise LifecycleError(Code.DOMAIN_NOT_FOUND, domain=hostname)


def _answer(route: routing_store.Route) -> DomainAnswer:
    return DomainAnswer(
        domain=route.hostname, kind=route.kind, environment=route.environment, deployment=route.deployment
    )
