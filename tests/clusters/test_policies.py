"""What the policies allow and refuse, judged as AWS documents it: Ray's calls pass, other people's machines are safe.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import ray.autoscaler.tags
import yaml

from orchestrator.backends.ray.clouds.aws import AwsProvider
from tests.clusters.stand_ins import ROOT

FILE = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))
CLUSTER = FILE["cluster_name"]
GPU = FILE["available_node_types"]["gpu"]["node_config"]
HEAD, WORKER = (
    json.loads((ROOT / f"docs/clusters/aws-{kind}-policy.json").read_text(encoding="utf-8"))["Statement"]
    for kind in ("head", "worker")
)
EC2, IAM = (
    boto3.client(name, "us-west-2", aws_access_key_id="x", aws_secret_access_key="x").meta.service_model
    for name in ("ec2", "iam")
)
ARN = "arn:aws:ec2:us-west-2:123:{}"
MACHINE = ARN.format("instance/i-1")
ROLE = "arn:aws:iam::YOUR-ACCOUNT:role/winning-sign-worker"
OURS, THEIRS = {"aws:ResourceTag/ray-cluster-name": CLUSTER}, {"aws:ResourceTag/ray-cluster-name": "another"}
STARTED = {"aws:RequestTag/ray-cluster-name": CLUSTER, "aws:TagKeys": ["ray-cluster-name", "ray-node-type"]}
STATUS = {"aws:TagKeys": ["ray-node-status"]}
TO_EC2 = {"iam:PassedToService": "ec2.amazonaws.com"}

Permission = tuple[str, str, dict[str, Any]]
"""Action, resource and condition keys that AWS checks for a request."""


def is_allowed(statements: list[dict[str, Any]], action: str, resource: str, context: dict[str, Any]) -> bool:
    """Whether a statement allows it; no policy here denies."""
    assert all(statement["Effect"] == "Allow" for statement in statements)
    return any(
        matches(action, statement["Action"])
        and (
            matches(resource, statement.get("Resource", [])) or not matches(resource, statement.get("NotResource", "*"))
        )
        and all(holds(name, test, context) for name, test in statement.get("Condition", {}).items())
        for statement in statements
    )


def matches(text: str, patterns: str | list[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def holds(operator: str, test: dict[str, Any], context: dict[str, Any]) -> bool:
    """A condition; with ForAllValues every value of the request has to pass, else the one value."""
    quantifier, _, name = operator.rpartition(":")
    for key, wanted in test.items():
        given = context.get(key, [])
        values = [given] if isinstance(given, str) else given
        if not quantifier and not values:
            return False
        assert name in ("StringEquals", "StringLike", "StringNotEquals")
        exact = [wanted] if isinstance(wanted, str) else wanted
        passes = [matches(value, exact) if name == "StringLike" else value in exact for value in values]
        if not all(passed != (name == "StringNotEquals") for passed in passes):
            return False
    return True


class Recorder:
    """EC2 that answers without a network, and notes the permissions that AWS would check for each call."""

    def __init__(self) -> None:
        self.owner = CLUSTER
        self.machines: list[dict[str, Any]] = []
        self.checked: list[Permission] = []
        self._params: dict[str, Any] = {}

    def listen(self, events: Any) -> None:
        events.register("before-parameter-build.ec2", self._note)
        events.register("before-call.ec2", self._answer)

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        self._params = params

    def _answer(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]]:
        self.checked += permissions(model.name, self._params, self.owner)
        answer: dict[str, Any] = {}
        if model.name == "RunInstances":
            (specification,) = self._params["TagSpecifications"]
            number = len(self.machines) + 1
            answer["Instances"] = [{"InstanceId": f"i-{number}", "State": {"Name": "running"}, "StateReason": {}}]
            answer["Instances"][0] |= {"Tags": specification["Tags"], "PrivateIpAddress": f"10.0.0.{number}"}
            self.machines += answer["Instances"]
        if model.name == "DescribeInstances":
            answer["Reservations"] = [{"Instances": self.machines}]
        return SimpleNamespace(status_code=200), answer


def permissions(operation: str, params: dict[str, Any], owner: str) -> Iterator[Permission]:
    """Which permissions AWS checks for a call, if the machines in it carry the owner's cluster name.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_ec2.html
    """
    on_it = {"aws:ResourceTag/ray-cluster-name": owner}
    if operation == "RunInstances":
        ((kind, tags),) = ((each["ResourceType"], each["Tags"]) for each in params["TagSpecifications"])
        assert kind == "instance"
        request = request_tags(tags)
        yield "ec2:RunInstances", ARN.format("instance/*"), request
        yield "ec2:CreateTags", ARN.format("instance/*"), {**request, "ec2:CreateAction": "RunInstances"}
        used = ["image/ami-1", "subnet/subnet-1", "security-group/sg-1", "key-pair/ray", "network-interface/*"]
        for resource in [*used, "volume/*", "snapshot/snap-1", "spot-instances-request/*"]:
            yield "ec2:RunInstances", ARN.format(resource), {}
        yield "iam:PassRole", f"arn:aws:iam::YOUR-ACCOUNT:role/{params['IamInstanceProfile']['Name']}", TO_EC2
    elif operation == "CreateTags":
        for machine in params["Resources"]:
            yield "ec2:CreateTags", ARN.format(f"instance/{machine}"), {**on_it, **request_tags(params["Tags"])}
    elif operation == "TerminateInstances":
        for machine in params["InstanceIds"]:
            yield "ec2:TerminateInstances", ARN.format(f"instance/{machine}"), on_it
    else:
        yield f"ec2:{operation}", "*", {}


def request_tags(tags: list[dict[str, str]]) -> dict[str, Any]:
    return {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags} | {"aws:TagKeys": [t["Key"] for t in tags]}


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> tuple[AwsProvider, Recorder]:
    """The head's provider of machines, on an EC2 that only records."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    provider = AwsProvider(FILE["provider"], CLUSTER)
    recorder = Recorder()
    for resource in ("ec2", "ec2_fail_fast"):
        fresh = boto3.session.Session().resource("ec2", "us-west-2")
        setattr(provider, resource, fresh)
        recorder.listen(fresh.meta.client.meta.events)
    return provider, recorder


def test_every_call_of_rays_provider_is_allowed(recorded: tuple[AwsProvider, Recorder]) -> None:
    """Those of the autoscaler and of what sets up a machine (ray/autoscaler/_private/{updater,command_runner}.py)."""
    provider, recorder = recorded
    machine = {**GPU, "SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "KeyName": "ray"}
    tags = {"ray-node-name": "worker", "ray-node-type": "worker", "ray-user-node-type": "gpu"}
    provider.create_node_with_resources_and_labels(machine, tags, 2, {"GPU": 1}, {})
    first, second = provider.non_terminated_nodes({"ray-node-type": "worker"})
    assert provider.is_running(first)
    assert provider.internal_ip(first) == "10.0.0.1"
    own = {value for name, value in vars(ray.autoscaler.tags).items() if name.startswith("TAG_")}
    assert provider.node_tags(first).keys() <= own
    provider.set_node_tags(first, dict.fromkeys(own - {ray.autoscaler.tags.TAG_RAY_CLUSTER_NAME}, "a value"))
    provider.terminate_node(first)
    provider.terminate_nodes([second])
    refused = [permission for permission in recorder.checked if not is_allowed(HEAD, *permission)]
    assert not refused
    actions = {action for action, *_ in recorder.checked}
    changes = {"ec2:RunInstances", "ec2:CreateTags", "ec2:TerminateInstances", "iam:PassRole"}
    assert actions == {"ec2:DescribeInstances", *changes}
    granted = {statement["Action"] for statement in HEAD if isinstance(statement["Action"], str)}
    assert granted == {"ec2:Describe*", *changes}  # beside the bucket's, and nothing beyond


def test_the_same_calls_are_refused_on_machines_of_another_cluster(recorded: tuple[AwsProvider, Recorder]) -> None:
    provider, recorder = recorded
    recorder.owner = "another"
    recorder.machines = [{"InstanceId": "i-1", "State": {"Name": "running"}, "Tags": []}]
    (machine,) = provider.non_terminated_nodes({})
    provider.set_node_tags(machine, {"ray-node-status": "up-to-date", "ray-node-name": "ours"})
    provider.terminate_node(machine)
    provider.terminate_nodes([machine])
    allowed = {action for action, *rest in recorder.checked if is_allowed(HEAD, action, *rest)}
    assert allowed == {"ec2:DescribeInstances"}
    assert len(recorder.checked) == 1 + 2 + 2


@pytest.mark.parametrize("policy", [HEAD, WORKER], ids=["head", "worker"])
@pytest.mark.parametrize("theirs", [THEIRS, {}], ids=["another cluster's", "untagged"])
def test_no_operation_of_ec2_changes_a_machine_of_somebody_else(
    policy: list[dict[str, Any]], theirs: dict[str, str]
) -> None:
    """Whatever tags the request names, except a RunInstances with the cluster's tag, which makes a new machine."""
    changes = [name for name in EC2.operation_names if not name.startswith("Describe")]
    assert len(changes) > 400
    for context in (theirs, {**theirs, **STARTED}, {**theirs, **STATUS}):
        allowed = {name for name in changes if is_allowed(policy, f"ec2:{name}", MACHINE, context)}
        assert allowed == ({"RunInstances"} if policy is HEAD and context.items() >= STARTED.items() else set())


def test_of_its_own_machines_the_head_only_tags_and_ends_them() -> None:
    changes = [name for name in EC2.operation_names if not name.startswith("Describe")]
    allowed = {name for name in changes if is_allowed(HEAD, f"ec2:{name}", MACHINE, {**OURS, **STATUS})}
    assert allowed == {"CreateTags", "TerminateInstances"}


def test_no_identity_changes_permissions() -> None:
    for policy in (HEAD, WORKER):
        assert not any(is_allowed(policy, f"iam:{name}", ROLE, TO_EC2) for name in IAM.operation_names)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ec2:CreateTags", MACHINE, {**OURS, "aws:TagKeys": ["ray-cluster-name"]}),
        ("ec2:CreateTags", MACHINE, {**OURS, "aws:TagKeys": ["ray-node-status", "billing"]}),
        ("ec2:CreateTags", MACHINE, {**THEIRS, "ec2:CreateAction": "CreateVolume"}),
        ("ec2:CreateTags", ARN.format("volume/vol-1"), {**OURS, **STATUS}),
        ("ec2:RunInstances", MACHINE, {}),
        ("ec2:RunInstances", MACHINE, {"aws:RequestTag/ray-cluster-name": "another"}),
        ("iam:PassRole", ROLE, {}),
        ("iam:PassRole", ROLE, {"iam:PassedToService": "lambda.amazonaws.com"}),
        ("iam:PassRole", "arn:aws:iam::another:role/winning-sign-worker", TO_EC2),
        ("iam:PassRole", "arn:aws:iam::YOUR-ACCOUNT:role/winning-sign-head", TO_EC2),
        ("s3:GetObject", "arn:aws:s3:::another-bucket/key", {}),
        ("s3:DeleteBucket", "arn:aws:s3:::YOUR-BUCKET", {}),
    ],
)
def test_what_neither_identity_may_do(action: str, resource: str, context: dict[str, Any]) -> None:
    assert not is_allowed(HEAD, action, resource, context)
    assert not is_allowed(WORKER, action, resource, context)
