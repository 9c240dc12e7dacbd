"""cluster.yaml, from Ray's validation to `ray up` and `ray down` against a mock of AWS on loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError

from tests.clusters.stand_ins import ROOT, StandIns, free_port

pytestmark = pytest.mark.slow(seconds=30)

REGION = "us-west-2"
VALUES = {"ami-YOUR-IMAGE": "ami-12c6146b", "YOUR-BUCKET": "a-bucket"}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> StandIns:
    return StandIns.at(
        tmp_path_factory.mktemp("aws") / "machine",
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
        RAY_AUTH_MODE="token",
        AUTOSCALER_NODE_SSH_INTERVAL_S="1",
    )


@pytest.fixture(scope="module")
def aws(stand_ins: StandIns) -> Iterator[dict[str, Any]]:
    """A mock of AWS that keeps its state until the module's end; clients by the service's name."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stand_ins.environment["AWS_ENDPOINT_URL"] = url
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    access = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": REGION}
    made = {name: boto3.client(name, endpoint_url=url, **access) for name in ("ec2", "iam", "s3")}
    try:
        for _ in range(200):
            try:
                made["ec2"].describe_vpcs()
                break
            except Exception:
                assert server.poll() is None
                time.sleep(0.1)
        for kind in ("head", "worker"):
            make_identity(made["iam"], kind)
        yield made
    finally:
        server.terminate()
        server.wait()


def make_identity(iam: Any, kind: str) -> None:
    """What docs/clusters.md says to make before the first `ray up`."""
    name = f"winning-sign-{kind}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    policy = (ROOT / f"docs/clusters/aws-{kind}-policy.json").read_text().replace("YOUR-BUCKET", "a-bucket")
    policy = policy.replace("YOUR-ACCOUNT", "123456789012")
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


@pytest.fixture(scope="module")
def filled_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cluster.yaml as a user has made it their own."""
    text = (ROOT / "cluster.yaml").read_text()
    for theirs, ours in VALUES.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    path = tmp_path_factory.mktemp("filled") / "cluster.yaml"
    path.write_text(text)
    return path


def instances(aws: dict[str, Any], *states: str) -> list[dict[str, Any]]:
    wanted = [{"Name": "instance-state-name", "Values": list(states)}]
    return [
        each for group in aws["ec2"].describe_instances(Filters=wanted)["Reservations"] for each in group["Instances"]
    ]


@pytest.fixture(scope="module")
def up(aws: dict[str, Any], stand_ins: StandIns, filled_in: Path) -> StandIns:
    """After the commands of docs/clusters.md; `ray up` ran once."""
    token = stand_ins.ray("get-auth-token", "--generate")
    assert token.returncode == 0, token.stderr
    done = stand_ins.ray("up", "-y", "--no-config-cache", str(filled_in))
    assert done.returncode == 0, done.stdout + done.stderr
    return stand_ins


def test_the_stand_ins_come_first_on_path(stand_ins: StandIns) -> None:
    stand_ins.prove()
    done = subprocess.run(
        ["ssh", "-tt", "-o", "A=b", "-i", "key", "ubuntu@192.0.2.1", "touch", "/nowhere"], env=stand_ins.environment
    )
    assert done.returncode == 0
    assert stand_ins.asked("ssh") == [("ubuntu@192.0.2.1", "touch /nowhere")]
    Path(stand_ins.environment["STAND_IN_LOG"]).unlink()


def test_up_starts_a_head_as_the_file_says_and_no_gpu(up: StandIns, aws: dict[str, Any]) -> None:
    (head,) = instances(aws, "pending", "running")
    tags = {tag["Key"]: tag["Value"] for tag in head["Tags"]}
    assert tags["ray-node-type"] == "head"
    assert tags["ray-node-status"] == "up-to-date"
    assert tags["ray-cluster-name"] == "winning-sign"
    assert head["InstanceType"] == "m6i.large"
    assert head["ImageId"] == VALUES["ami-YOUR-IMAGE"]
    assert "InstanceLifecycle" not in head  # on demand
    assert head["IamInstanceProfile"]["Arn"].endswith("/winning-sign-head")


def test_a_machines_credentials_and_disks_are_guarded(up: StandIns, aws: dict[str, Any]) -> None:
    (head,) = instances(aws, "pending", "running")
    assert_guarded(aws, head)


def assert_guarded(aws: dict[str, Any], machine: dict[str, Any]) -> None:
    """Assert that forged requests get no credentials and that the disks are encrypted."""
    metadata = machine["MetadataOptions"]
    assert (metadata["HttpTokens"], metadata["HttpPutResponseHopLimit"]) == ("required", 1)
    disks = [disk["Ebs"] for disk in machine["BlockDeviceMappings"]]
    assert disks
    assert all(disk["DeleteOnTermination"] for disk in disks)
    volumes = aws["ec2"].describe_volumes(VolumeIds=[disk["VolumeId"] for disk in disks])["Volumes"]
    assert all(volume["Encrypted"] for volume in volumes)


def test_nothing_but_ssh_is_open_to_the_world(up: StandIns, aws: dict[str, Any]) -> None:
    (head,) = instances(aws, "pending", "running")
    (member,) = head["SecurityGroups"]
    (group,) = aws["ec2"].describe_security_groups(GroupIds=[member["GroupId"]])["SecurityGroups"]
    assert group["GroupName"] == "winning-sign"
    outside = [rule for rule in group["IpPermissions"] if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in outside] == [("tcp", 22, 22)]
    inside = [rule for rule in group["IpPermissions"] if rule not in outside]
    assert [pair["GroupId"] for rule in inside for pair in rule["UserIdGroupPairs"]] == [member["GroupId"]]


def test_ray_up_runs_exactly_the_commands_of_the_file_on_the_head(
    up: StandIns, aws: dict[str, Any], filled_in: Path
) -> None:
    (head,) = instances(aws, "pending", "running")
    hosts = {host for host, _ in up.asked("ssh")}
    assert hosts == {f"ubuntu@{head['PublicIpAddress']}"}
    written = yaml.safe_load(filled_in.read_text())
    expected = [
        *written["initialization_commands"],
        *written["setup_commands"],
        *written["head_start_ray_commands"],
    ]
    commands = [plain(command) for _, command in up.asked("ssh")]
    assert [command for command in commands if not command.startswith(("uptime", "mkdir -p "))] == expected
    mounts = dict(written["file_mounts"])
    copied = {target.partition(":")[2].rstrip("/"): source for source, target in up.asked("rsync")}
    assert mounts.keys() < copied.keys()
    unlisted = copied.keys() - mounts.keys()
    assert sorted(unlisted) == ["~/ray_bootstrap_config.yaml", "~/ray_bootstrap_key.pem"]


def plain(command: str) -> str:
    """A remote command without the login shell and the variables that Ray wraps around it."""
    match = re.fullmatch(r"bash --login -c -i '(.*)'", command, re.DOTALL)
    inner = match[1].replace("'\"'\"'", "'") if match else command
    match = re.fullmatch(
        r"source ~/.bashrc; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && \((.*)\)", inner, re.DOTALL
    )
    return re.sub(r"^( ?export \w+=\S+; ?)+", "", match[1] if match else inner)


@pytest.fixture
def provider(up: StandIns, filled_in: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The head's node provider, made of the file by the same code of Ray, and the node type of GPU machines."""
    for name in (
        "HOME",
        "PATH",
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.setenv(name, up.environment[name])
    from ray.autoscaler._private.aws.utils import client_cache, resource_cache
    from ray.autoscaler._private.commands import _bootstrap_config
    from ray.autoscaler._private.providers import _get_node_provider

    for cache in (client_cache, resource_cache):  # another test's clients know another endpoint
        cache.cache_clear()
    config = _bootstrap_config(yaml.safe_load(filled_in.read_text()), no_config_cache=True)
    made = _get_node_provider(config["provider"], config["cluster_name"])
    yield made, config["available_node_types"]["gpu"]
    made.terminate_nodes(made.non_terminated_nodes({"ray-node-type": "worker"}))
    for cache in (client_cache, resource_cache):
        cache.cache_clear()


WORKER_TAGS = {"ray-node-type": "worker", "ray-user-node-type": "gpu", "ray-node-status": "uninitialized"}


def test_on_the_prepared_image_no_package_is_installed_anew(tmp_path: Path) -> None:
    """The file's commands twice in one home: on the machine that the image is made of, and on one made from it."""
    programs, home, log = tmp_path / "bin", tmp_path / "home", tmp_path / "log.txt"
    for folder in (programs, home, home / ".ray"):
        folder.mkdir()
    (home / ".bashrc").write_text("case $- in *i*) ;; *) return;; esac\n")
    venv = f"mkdir -p ~/venv/bin && ln -s /bin/true ~/venv/bin/pip && echo made >> {log}"
    for name, body in (("python3", f'[ "$2" != venv ] || ({venv})'), ("aws", "mkdir -p ~/data"), ("sudo", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    commands = [*config["initialization_commands"], *config["setup_commands"]]
    left = []
    for _ in range(2):
        (home / ".ray" / "auth_token").write_text("copied by Ray before the commands")
        for command in commands:
            subprocess.run(
                ["/bin/bash", "-c", command], env={"HOME": str(home), "PATH": f"{programs}:/usr/bin:/bin"}, check=True
            )
        left.append((home / ".bashrc").read_text())
    assert log.read_text() == "made\n"
    assert left[0] == left[1]
    assert left[0].startswith("export AWS_REGION=")


def test_workers_are_spot_machines_with_a_gpu(provider: tuple[Any, dict[str, Any]], aws: dict[str, Any]) -> None:
    made, gpu = provider
    assert gpu["resources"].items() >= {"CPU": 4, "GPU": 1}.items()
    made.create_node(gpu["node_config"], WORKER_TAGS, 1)
    (worker,) = (each for each in instances(aws, "pending", "running") if each["InstanceType"] == "g5.xlarge")
    assert worker["InstanceLifecycle"] == "spot"
    assert worker["IamInstanceProfile"]["Arn"].endswith("/winning-sign-worker")
    assert_guarded(aws, worker)


def test_a_shortage_of_the_first_machine_in_every_zone_starts_the_next(
    provider: tuple[Any, dict[str, Any]], aws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, gpu = provider
    start, asked = made.ec2_fail_fast.create_instances, []

    def short_of_g5(**machine: Any) -> Any:
        asked.append((machine["InstanceType"], machine["SubnetId"]))
        if machine["InstanceType"] == "g5.xlarge":
            raise ClientError({"Error": {"Code": "InsufficientInstanceCapacity", "Message": "none"}}, "RunInstances")
        return start(**machine)

    monkeypatch.setattr(made.ec2_fail_fast, "create_instances", short_of_g5)
    made.create_node(gpu["node_config"], WORKER_TAGS, 2)
    workers = [each for each in instances(aws, "pending", "running") if each["InstanceType"] != "m6i.large"]
    assert [each["InstanceType"] for each in workers] == ["g6.xlarge", "g6.xlarge"]
    for worker in workers:
        assert worker["InstanceLifecycle"] == "spot"
        assert {"Key": "ray-user-node-type", "Value": "gpu"} in worker["Tags"]
        assert_guarded(aws, worker)
    assert len({subnet for kind, subnet in asked if kind == "g5.xlarge"}) == 3


def test_ray_down_leaves_no_billed_resource(up: StandIns, aws: dict[str, Any], filled_in: Path) -> None:
    done = up.ray("down", "-y", str(filled_in))
    assert done.returncode == 0, done.stdout + done.stderr
    assert instances(aws, "pending", "running", "stopping", "stopped") == []
    assert plain(up.asked("ssh")[-1][1]) == "ray stop"
