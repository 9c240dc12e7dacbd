"""The cluster files: Ray's own validation, the keys that Ray does not check, and the promises of the docs."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator
from packaging.requirements import Requirement
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.clusters.stand_ins import ROOT

EXAMPLES = ROOT / "docs" / "clusters"
LAUNCHED = [ROOT / "cluster.yaml", EXAMPLES / "gcp.yaml", EXAMPLES / "local.yaml"]
CLOUDS = LAUNCHED[:2]
ANY_CLOUD = {"type", "module", "alternatives", "region", "availability_zone"}
# What Ray reads of `provider`, and would pass over in silence when misspelt.
PROVIDER_KEYS = {
    "aws": {*ANY_CLOUD, "cache_stopped_nodes", "security_group"},
    "gcp": {*ANY_CLOUD, "project_id"},
    "local": {"type", "head_ip", "worker_ips"},
}
# What Compute Engine's instances.insert takes, as far as a file here uses it.
GCP_KEYS = {"machineType", "disks", "networkInterfaces", "scheduling", "serviceAccounts", "guestAccelerators"}


def read(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    return config


def kind_of(provider: dict[str, Any]) -> str:
    """The cloud, or `local`: that of the module which holds the provider."""
    return provider["module"].split(".")[-2] if provider["type"] == "external" else provider["type"]


def machines(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Each machine that the file may start: those of its node types, and their alternatives."""
    alternatives = config["provider"]["alternatives"]
    return [
        {**node_type["node_config"], **change}
        for name, node_type in config["available_node_types"].items()
        for change in [{}, *alternatives.get(name, [])]
    ]


def names(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


@pytest.mark.parametrize("path", LAUNCHED, ids=names(LAUNCHED))
def test_ray_accepts_the_file(path: Path) -> None:
    validate_config(prepare_config(copy.deepcopy(read(path))))


@pytest.mark.parametrize("path", LAUNCHED, ids=names(LAUNCHED))
def test_provider_keys_are_complete_and_every_mounted_file_exists(path: Path) -> None:
    config = read(path)
    assert config["cluster_name"] == "winning-sign"  # missing, Ray takes "default"
    provider = config["provider"]
    assert provider.keys() == PROVIDER_KEYS[kind_of(provider)]
    assert config["auth"].keys() <= {"ssh_user", "ssh_private_key"}
    for source in config["file_mounts"].values():
        assert source.startswith("~") or (ROOT / source).exists(), source


def test_aws_takes_every_field_of_a_machine() -> None:
    run_instances = boto3.client("ec2", "us-west-2", aws_access_key_id="x", aws_secret_access_key="x").meta
    shape = run_instances.service_model.operation_model("RunInstances").input_shape
    for machine in machines(read(ROOT / "cluster.yaml")):
        fields = {**machine, "MinCount": 1, "MaxCount": 1}
        report = ParamValidator().validate(fields, shape)
        assert not report.has_errors(), report.generate_report()
        assert fields.keys() <= shape.members.keys()


@pytest.mark.parametrize("kind", ["head", "gpu"])
def test_a_machines_credentials_and_disks_are_as_the_docs_say(kind: str) -> None:
    machine = read(ROOT / "cluster.yaml")["available_node_types"][kind]["node_config"]
    assert machine["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert machine["BlockDeviceMappings"]
    for disk in machine["BlockDeviceMappings"]:
        assert disk["Ebs"]["Encrypted"] is True
        assert disk["Ebs"]["DeleteOnTermination"] is True
    page = (ROOT / "docs" / "security.md").read_text()
    assert "IMDSv2 only, one hop" in page
    assert "| the disks | encrypted, and deleted with the machine |" in page


def test_machines_image_zones_and_the_stores_requests_are_of_one_region() -> None:
    config = read(ROOT / "cluster.yaml")
    region = config["provider"]["region"]
    assert {zone[:-1] for zone in config["provider"]["availability_zone"].split(",")} == {region}
    text = (ROOT / "cluster.yaml").read_text()
    assert set(re.findall(r"AWS_REGION=(\S+)", text)) == {region}
    page = (ROOT / "docs" / "clusters.md").read_text()
    assert f"s3://YOUR-BUCKET --region {region}" in page
    assert set(re.findall(r"--region (\S+)", page)) == {region}


def test_google_takes_every_field_of_a_machine() -> None:
    for machine in machines(read(EXAMPLES / "gcp.yaml")):
        assert machine.keys() <= GCP_KEYS


@pytest.mark.parametrize("path", CLOUDS, ids=names(CLOUDS))
def test_a_shortage_of_one_spot_machine_leaves_others_to_try(path: Path) -> None:
    config = read(path)
    module, _, provider = config["provider"]["module"].rpartition(".")
    assert f"class {provider}(Alternatives, " in (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    (node_type, alternatives), *none = config["provider"]["alternatives"].items()
    assert not none
    assert node_type == "gpu"  # Ray's name for it, else nothing is tried
    kinds = {json.dumps([machine.get("InstanceType"), machine.get("machineType")]) for machine in machines(config)}
    assert len(kinds) == 2 + len(alternatives) >= 4  # the head, the first choice, the others


@pytest.mark.parametrize("path", CLOUDS, ids=names(CLOUDS))
def test_every_disk_holds_imagenet_beside_the_system(path: Path) -> None:
    for machine in machines(read(path)):
        (disk,) = machine.get("BlockDeviceMappings") or machine["disks"]
        size_gb = disk["Ebs"]["VolumeSize"] if "Ebs" in disk else disk["initializeParams"]["diskSizeGb"]
        assert size_gb >= 60 + 10 + 150 + 10  # the system, the packages, the data, and at least this for caches


@pytest.mark.parametrize("path", CLOUDS, ids=names(CLOUDS))
def test_waiting_costs_one_machine_without_a_gpu(path: Path) -> None:
    config = read(path)
    head, gpu = (config["available_node_types"][name] for name in ("head", "gpu"))
    assert config["head_node_type"] == "head"
    assert head["resources"] == {"CPU": 0}
    assert gpu["min_workers"] == 0
    assert gpu["resources"]["GPU"] == 1
    assert config["idle_timeout_minutes"] <= 10
    assert gpu["max_workers"] == config["max_workers"]
    assert "spot" in json.dumps(gpu["node_config"]).lower()
    assert "spot" not in json.dumps(head["node_config"]).lower()
    assert config["provider"].get("cache_stopped_nodes", False) is False


@pytest.mark.parametrize("path", LAUNCHED, ids=names(LAUNCHED))
def test_no_port_is_open_to_other_machines(path: Path) -> None:
    config = read(path)
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1" in start
    assert "0.0.0.0" not in path.read_text()
    assert "IpPermissions" not in path.read_text()  # beyond SSH and the group itself
    assert any(target.endswith(".ray/auth_token") for target in config["file_mounts"])
    commands = [*config.get("initialization_commands", []), *config["head_start_ray_commands"]]
    assert any("RAY_AUTH_MODE=token" in command for command in commands)


@pytest.mark.parametrize("path", CLOUDS, ids=names(CLOUDS))
def test_a_spot_machine_watches_for_its_notice(path: Path) -> None:
    config = read(path)
    last = config["worker_start_ray_commands"][-1]
    assert f"python -m orchestrator.spot_notice {kind_of(config['provider'])} " in last
    assert last.endswith("< /dev/null &")  # SSH waits for whoever holds its input or output
    assert not any("spot_notice" in command for command in config["head_start_ray_commands"])


def test_every_package_is_pinned_to_what_the_project_allows() -> None:
    lines = (EXAMPLES / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {need.name.lower(): need for need in map(Requirement, project["dependencies"])}
    assert pinned.keys() >= wanted.keys()
    for name, need in wanted.items():
        assert need.specifier.contains(pinned[name]), name
    for path in CLOUDS:
        assert "--constraint ~/winning-sign/constraints.txt" in path.read_text()
    assert read(EXAMPLES / "rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == pinned["ray"]


def test_files_mark_values_to_fill_in_and_hold_no_real_ones() -> None:
    for path in [*LAUNCHED, EXAMPLES / "rayjob.yaml", EXAMPLES / "sweep.slurm"]:
        text = path.read_text()
        assert "with YOUR in it" in text, path
        assert not re.search(r"ami-[0-9a-f]{8,}|AKIA|\b\d{12}\b", text), path


def test_the_rayjob_manifest_is_valid() -> None:
    schema = json.loads(Path(__file__).with_name("rayjob_schema.json").read_text())
    job = read(EXAMPLES / "rayjob.yaml")
    jsonschema.validate(job, schema)
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert "submissionMode" not in spec  # KubeRay's default runs the submitter below
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert cluster["autoscalerOptions"]["securityContext"] == confined
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (gpu,) = cluster["workerGroupSpecs"]
    assert gpu["minReplicas"] == 0
    assert gpu["template"]["spec"]["serviceAccountName"] == "winning-sign"
    templates = (spec["submitterPodTemplate"], cluster["headGroupSpec"]["template"], gpu["template"])
    for pod in (template["spec"] for template in templates):  # Kubernetes' pod security standard "restricted"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == confined
            assert container["resources"]["requests"] == container["resources"]["limits"]
    for broken in ({**job, "spec": {**spec, "shutdownAfterJobFinish": True}}, {**job, "apiVersion": "ray.io/v2"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_the_image_of_the_pods_holds_the_project_and_rays_pinned_version() -> None:
    steps = (EXAMPLES / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    (base,) = (step.split()[1] for step in steps if step.startswith("FROM "))
    assert base == f"rayproject/ray:{read(EXAMPLES / 'rayjob.yaml')['spec']['rayClusterSpec']['rayVersion']}-py312-gpu"
    copied = {source for step in steps if step.startswith("COPY ") for source in step.split()[2:-1]}
    assert all((ROOT / source).exists() for source in copied)
    sources = {source for source in read(ROOT / "cluster.yaml")["file_mounts"].values() if not source.startswith("~")}
    assert copied == sources
    assert all("--constraint constraints.txt" in step for step in steps if step.startswith("RUN "))
    assert "--file docs/clusters/Dockerfile" in (EXAMPLES.parent / "clusters.md").read_text()


def test_every_command_of_a_file_is_bash() -> None:
    for path in LAUNCHED:
        for key, commands in read(path).items():
            if key.endswith("_commands"):
                for command in commands:
                    checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
                    assert checked.returncode == 0, f"{path}: {command}: {checked.stderr}"


# In the order in which a user comes to need them; there are two ways to machines of one's own.
PLATFORMS = {
    "AWS": [
        *("aws configure", "ray up", "rm -rf ~/.ray ~/ray_bootstrap_*", "create-image", "ray down", "ray up"),
        *("report.html .", "**Stop paying**: ", "ray down", "deregister-image", "aws s3 rb"),
    ],
    "Google Cloud": [
        *("gcloud auth login", "gcloud config set project", "ray up", "rm -rf ~/.ray ~/ray_bootstrap_*"),
        *("images create", "instances delete", "ray up", "report.html .", "**Stop paying**: ", "images delete"),
    ],
    "Machines of your own": [
        *("pip install", "--address HEAD:6379", "report.html .", "**Stop**: ", "orchestrator.cancel"),
        *("ray up", "report.html .", "**Stop**: ", "ray down"),
    ],
    "Kubernetes": ["docker build", "kubectl apply -f docs", "report.html .", "**Stop paying**: ", "delete rayjob"],
    "Slurm": ["make .venv/.installed", "sbatch", "report.html .", "**Stop**: ", "scancel"],
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_platform_goes_from_nothing_to_the_report_and_stops(platform: str) -> None:
    text = (EXAMPLES.parent / "clusters.md").read_text()
    section = text.split(f"\n## {platform}\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    assert blocks
    for block in blocks:
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
    place = 0
    for step in PLATFORMS[platform]:
        place = section.find(step, place)
        assert place >= 0, step


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_a_machine_has_only_the_permissions_it_needs(kind: str) -> None:
    policy = json.loads((EXAMPLES / f"aws-{kind}-policy.json").read_text())
    actions = {
        action
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert "*" not in actions
    assert {"s3:GetObject", "s3:PutObject", "s3:ListBucket"} <= actions
    assert any(action.startswith("ec2:") for action in actions) == (kind == "head")
