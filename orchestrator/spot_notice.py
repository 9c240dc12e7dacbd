"""``python -m orchestrator.spot_notice``: tells Ray when the cloud takes this machine back.

Runs beside Ray on every spot machine. The driver sees that the node drains, and has its stages checkpoint at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

TIMEOUT_S = 2.0
GCP_GRACE_S = 30  # Google names no time: it is always this long
AWS_TOKEN_TTL_S = 21600


class Cloud(StrEnum):
    """Whose metadata service to ask."""

    AWS = "aws"
    GCP = "gcp"


ENDPOINTS = {Cloud.AWS: "http://169.254.169.254", Cloud.GCP: "http://metadata.google.internal"}


class NoticeError(Exception):
    """The metadata service gave no answer that can be understood."""


@dataclass(frozen=True)
class Notice:
    """What the cloud said.

    Attributes:
        reason: in words, for Ray's records.
        remaining_s: until the machine goes, 0 or more; None where the cloud only advises to leave.
    """

    reason: str
    remaining_s: int | None


def look(cloud: Cloud, endpoint: str, rebalance: bool, now: datetime) -> Notice | None:
    """Ask once; None when there is no notice.

    Args:
        cloud: whose metadata service answers.
        endpoint: where it answers, as scheme and host.
        rebalance: whether AWS's advice that an interruption has become likely is a notice too.
        now: the time, with its zone.

    Raises:
        NoticeError: no answer, or one that cannot be understood.
    """
    try:
        return _look_at_aws(endpoint, rebalance, now) if cloud is Cloud.AWS else _look_at_gcp(endpoint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoticeError(f"{endpoint}: {type(error).__name__}: {error}") from error


def _look_at_aws(endpoint: str, rebalance: bool, now: datetime) -> Notice | None:
    asked = {"X-aws-ec2-metadata-token-ttl-seconds": str(AWS_TOKEN_TTL_S)}
    token = _ask(f"{endpoint}/latest/api/token", asked, method="PUT")
    if token is None:
        raise NoticeError(f"{endpoint} gives no token: is this a machine of AWS?")
    headers = {"X-aws-ec2-metadata-token": token}
    action = _ask(f"{endpoint}/latest/meta-data/spot/instance-action", headers)
    if action is not None:
        told = json.loads(action)
        left = datetime.fromisoformat(told["time"]) - now
        return Notice(f"AWS: {told['action']} at {told['time']}", max(0, int(left.total_seconds())))
    if rebalance and _ask(f"{endpoint}/latest/meta-data/events/recommendations/rebalance", headers) is not None:
        return Notice("AWS: an interruption has become likely", None)
    return None


def _look_at_gcp(endpoint: str) -> Notice | None:
    answer = _ask(f"{endpoint}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return Notice("GCP: preempted", GCP_GRACE_S) if answer == "TRUE" else None


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str | None:
    """The answer's text; None for a 404, which is how AWS says that there is nothing to say."""
    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        with DIRECTLY.open(request, timeout=TIMEOUT_S) as answer:
            text: str = answer.read().decode()
            return text.strip()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would answer for its own machine


def drain_command(notice: Notice, address: str, node_id: str | None) -> list[str]:
    """Ray's command to drain a node; without an id, the one of this machine."""
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "drain-node",
        "--address",
        address,
        "--reason",
        "DRAIN_NODE_REASON_PREEMPTION",
    ]
    command += ["--reason-message", notice.reason]
    if notice.remaining_s is not None:
        command += ["--deadline-remaining-seconds", str(notice.remaining_s)]
    if node_id is not None:
        command += ["--node-id", node_id]
    return command


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def watch(
    cloud: Annotated[Cloud, typer.Argument(help="Whose machine this is.")],
    endpoint: Annotated[
        str | None, typer.Option(help="Where its metadata service answers. Default: the cloud's fixed address.")
    ] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Time between questions.")] = 5.0,
    rebalance: Annotated[
        bool, typer.Option("--rebalance", help="Leave on AWS's mere advice too, which often nothing follows.")
    ] = False,
    address: Annotated[str, typer.Option(help="The Ray cluster.")] = "auto",
    node_id: Annotated[
        str | None, typer.Option(help="The Ray node to drain. Default: the one that runs on this machine.")
    ] = None,
) -> None:
    """Wait for the notice that this spot machine is taken back, drain its Ray node once, and end."""
    where = endpoint or ENDPOINTS[cloud]
    silent = ""
    while True:
        try:
            notice = look(cloud, where, rebalance, datetime.now(UTC))
            silent = ""
        except NoticeError as error:
            notice = None
            if str(error) != silent:  # said once, not every five seconds for a week
                silent = str(error)
                _say(silent)
        if notice is not None:
            _say(notice.reason)
            drained = subprocess.run(drain_command(notice, address, node_id), check=False)
            if drained.returncode == 0:
                _say("The Ray node of this machine drains.")
                return
            _say(f"ray drain-node exited with {drained.returncode}; once more in {interval:g} s")
        time.sleep(interval)


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", flush=True)


def main() -> None:
    """Console entry point."""
    app()


if __name__ == "__main__":
    main()
