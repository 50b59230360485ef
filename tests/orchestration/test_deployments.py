"""What `infra/prefect.yaml` declares can be served, and started with a form."""

import pytest

from flows.improve_agent import improve_agent
from flows.serve import DEPLOYMENTS_FILE, declared_deployments


def test_every_declared_deployment_is_served_with_its_schedule() -> None:
    served = {(deployment.flow_name, deployment.name): deployment for deployment in declared_deployments(DEPLOYMENTS_FILE)}
    assert {("improve-agent", "nightly"), ("improve-agent", "by-hand"), ("rollback", "by-hand")} <= served.keys()
    nightly = served["improve-agent", "nightly"].schedules
    assert nightly is not None
    assert [schedule.schedule.cron for schedule in nightly] == ["0 3 * * *"]
    assert not nightly[0].active


def test_the_form_of_a_run_knows_types_choices_and_bounds() -> None:
    schema = improve_agent.parameters
    assert schema.required == ["source"]
    assert schema.definitions["TraceSource"]["properties"]["format"]["enum"] == ["jsonl", "json", "openai", "sgd"]
    assert schema.definitions["TrainingConfig"]["properties"]["iterations"]["minimum"] == 1


def test_a_run_with_a_wrong_parameter_is_refused_before_it_starts() -> None:
    with pytest.raises(Exception, match="format"):
        improve_agent.validate_parameters({"source": {"path": "logs", "format": "parquet"}})
