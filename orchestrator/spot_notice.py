"""``winning-sign spot-notice``: drains a spot machine that the cloud takes back.

Runs beside Ray on every spot machine. The driver sees the draining node and lets its stages checkpoint at once.
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

from workers.terminal.command import add_command, new_app

TIMEOUT_S = 2.0
GCP_GRACE_S = 30  # Google gives no time in its notice: the grace is always this long
AWS_TOKEN_TTL_S = 21600


class Cloud(StrEnum):
    """A cloud whose metadata service can be asked."""

    AWS = "aws"
    GCP = "gcp"


ENDPOINTS = {Cloud.AWS: "http://169.254.169.254", Cloud.GCP: "http://metadata.google.internal"}


class NoticeError(Exception):
    """The metadata service gave no answer, or an unknown one."""


@dataclass(frozen=True)
class Notice:
    """The cloud's notice that it takes the machine back.

    Attributes:
        reason: a sentence for Ray's records.
        remaining_s: seconds until the machine goes, 0 or more; None if the cloud only advises to leave.
    """

    reason: str
    remaining_s: int | None


def read_notice(cloud: Cloud, endpoint: str, rebalance: bool, now: datetime) -> Notice | None:
    """Ask the metadata service once; None when it has no notice.

    Args:
        endpoint: scheme and host of the metadata service.
        rebalance: take AWS's advice that an interruption has become likely for a notice, too.
        now: the time, with its zone.

    Raises:
        NoticeError: the service gave no answer, or an unknown one.
    """
    try:
        return _ask_aws(endpoint, rebalance, now) if cloud is Cloud.AWS else _ask_gcp(endpoint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoticeError(f"{endpoint}: {type(error).__name__}: {error}") from error


def _ask_aws(endpoint: str, rebalance: bool, now: datetime) -> Notice | None:
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(AWS_TOKEN_TTL_S)}
    token = _ask(f"{endpoint}/latest/api/token", lifetime, method="PUT")
    if token is None:
        raise NoticeError(f"{endpoint} gives no token: is this a machine of AWS?")
    headers = {"X-aws-ec2-metadata-token": token}
    action = _ask(f"{endpoint}/latest/meta-data/spot/instance-action", headers)
    if action is not None:
        notice = json.loads(action)
        left = datetime.fromisoformat(notice["time"]) - now
        return Notice(f"AWS: {notice['action']} at {notice['time']}", max(0, int(left.total_seconds())))
    if rebalance and _ask(f"{endpoint}/latest/meta-data/events/recommendations/rebalance", headers) is not None:
        return Notice("AWS: an interruption has become likely", None)
    return None


def _ask_gcp(endpoint: str) -> Notice | None:
    answer = _ask(f"{endpoint}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return Notice("GCP: preempted", GCP_GRACE_S) if answer == "TRUE" else None


def _ask(url: str, headers: dict[str, str], method: str = "GET") -> str | None:
    """Return the answer's text; None for a 404, AWS's answer where no notice exists."""
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
    """Return Ray's command that drains a node; without an id, this machine's node."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address]
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", notice.reason]
    if notice.remaining_s is not None:
        command += ["--deadline-remaining-seconds", str(notice.remaining_s)]
    if node_id is not None:
        command += ["--node-id", node_id]
    return command


EXAMPLES = """
winning-sign spot-notice aws --rebalance
winning-sign spot-notice gcp --address 10.0.0.1:6379
"""
app = new_app()


@add_command(app, EXAMPLES)
def watch(
    cloud: Annotated[Cloud, typer.Argument(metavar="CLOUD", help="The cloud of this machine: aws or gcp.")],
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Scheme and host of the metadata service. Default: as the cloud has it."),
    ] = None,
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Seconds between two requests.")] = 5.0,
    rebalance: Annotated[
        bool, typer.Option("--rebalance", help="Drain also on AWS's advice that an interruption has become likely.")
    ] = False,
    address: Annotated[str, typer.Option(help="Address of the Ray cluster.")] = "auto",
    node_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Ray node to drain. Default: the node on this machine.")
    ] = None,
) -> None:
    """Drain a spot machine that the cloud takes back.

    Polls the metadata service until the notice comes, then drains the Ray node of this machine once and exits.
    """
    where = endpoint or ENDPOINTS[cloud]
    last_error = ""
    while True:
        try:
            notice = read_notice(cloud, where, rebalance, datetime.now(UTC))
            last_error = ""
        except NoticeError as error:
            notice = None
            if str(error) != last_error:  # once, not every five seconds for a week
                last_error = str(error)
                _log(last_error)
        if notice is not None:
            _log(notice.reason)
            drained = subprocess.run(drain_command(notice, address, node_id), check=False)
            if drained.returncode == 0:
                _log("The Ray node of this machine drains.")
                return
            _log(f"ray drain-node exited with {drained.returncode}; trying again in {interval:g} s")
        time.sleep(interval)


def _log(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}", flush=True)


if __name__ == "__main__":
    app()
