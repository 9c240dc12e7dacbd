"""What the head's policy allows and refuses, judged as AWS does: Ray's calls pass, other people's machines are safe.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

import pytest
import yaml

from tests.clusters.stand_ins import ROOT

CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))["cluster_name"]
STATEMENTS = json.loads((ROOT / "docs/clusters/aws-head-policy.json").read_text(encoding="utf-8"))["Statement"]
MACHINE = "arn:aws:ec2:us-west-2:123:instance/i-1"
WORKER = "arn:aws:iam::YOUR-ACCOUNT:role/winning-sign-worker"
OURS, THEIRS = {"aws:ResourceTag/ray-cluster-name": CLUSTER}, {"aws:ResourceTag/ray-cluster-name": "another"}
STARTED = {"aws:RequestTag/ray-cluster-name": CLUSTER, "aws:TagKeys": ["ray-cluster-name", "ray-node-type"]}
STATUS = {"aws:TagKeys": ["ray-node-status"]}


def is_allowed(action: str, resource: str, context: dict[str, Any]) -> bool:
    return any(
        statement["Effect"] == "Allow"
        and matches(action, statement["Action"])
        and (
            matches(resource, statement.get("Resource", [])) or not matches(resource, statement.get("NotResource", "*"))
        )
        and all(holds(name, test, context) for name, test in statement.get("Condition", {}).items())
        for statement in STATEMENTS
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


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ec2:DescribeInstances", "*", {}),
        ("ec2:RunInstances", MACHINE, STARTED),
        ("ec2:RunInstances", "arn:aws:ec2:us-west-2:123:subnet/subnet-1", {}),
        ("ec2:RunInstances", "arn:aws:ec2:us-west-2::image/ami-1", {}),
        ("ec2:CreateTags", MACHINE, {**STARTED, "ec2:CreateAction": "RunInstances"}),
        ("ec2:CreateTags", MACHINE, {**OURS, **STATUS}),
        ("ec2:CreateTags", MACHINE, {**OURS, "aws:TagKeys": ["Name"]}),
        ("ec2:TerminateInstances", MACHINE, OURS),
        ("iam:PassRole", WORKER, {"iam:PassedToService": "ec2.amazonaws.com"}),
    ],
)
def test_what_rays_autoscaler_does_is_allowed(action: str, resource: str, context: dict[str, Any]) -> None:
    assert is_allowed(action, resource, context)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ec2:TerminateInstances", MACHINE, THEIRS),
        ("ec2:TerminateInstances", MACHINE, {}),
        ("ec2:CreateTags", MACHINE, {"aws:TagKeys": ["ray-cluster-name"], "aws:RequestTag/ray-cluster-name": CLUSTER}),
        ("ec2:CreateTags", MACHINE, {**THEIRS, **STATUS}),
        ("ec2:CreateTags", MACHINE, {**THEIRS, "aws:TagKeys": ["ray-cluster-name"]}),
        ("ec2:CreateTags", MACHINE, {**OURS, "aws:TagKeys": ["ray-cluster-name"]}),
        ("ec2:CreateTags", MACHINE, {**OURS, "aws:TagKeys": ["ray-node-status", "billing"]}),
        ("ec2:CreateTags", "arn:aws:ec2:us-west-2:123:volume/vol-1", {**OURS, **STATUS}),
        ("ec2:DeleteTags", MACHINE, OURS),
        ("ec2:StopInstances", MACHINE, OURS),
        ("ec2:RunInstances", MACHINE, {}),
        ("ec2:RunInstances", MACHINE, {"aws:RequestTag/ray-cluster-name": "another"}),
        ("iam:PassRole", WORKER, {"iam:PassedToService": "lambda.amazonaws.com"}),
        ("iam:PassRole", "arn:aws:iam::another:role/winning-sign-worker", {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("iam:PassRole", "arn:aws:iam::YOUR-ACCOUNT:role/admin", {"iam:PassedToService": "ec2.amazonaws.com"}),
    ],
)
def test_other_peoples_machines_and_roles_are_out_of_reach(action: str, resource: str, context: dict[str, Any]) -> None:
    assert not is_allowed(action, resource, context)
