"""What is known of each program that a document calls: how a test runs it, or which other test does."""

from __future__ import annotations

from orchestrator.__main__ import SUB_COMMANDS as COMMANDS

CLUSTERS = "tests/clusters/test_files.py"

# Programs of others, which reach other machines: where a document's steps are tried, and words of that file.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "aws": (CLUSTERS, '"aws configure"'),
    "gcloud": (CLUSTERS, '"gcloud auth login"'),
    "kubectl": (CLUSTERS, '"kubectl apply -f docs"'),
    "helm": (CLUSTERS, "test_each_platform_goes_from_nothing_to_the_report_and_stops"),
    "docker": (CLUSTERS, '"docker build"'),
    "ssh": ("tests/clusters/stand_ins.py", "SSH"),
    "scp": (CLUSTERS, '"report.html ."'),
    "rsync": ("tests/clusters/stand_ins.py", "RSYNC"),
    "nohup": (CLUSTERS, '"--address HEAD:6379"'),
    "sbatch": ("tests/clusters/test_slurm.py", "sweep.slurm"),
}
# Programs that every reader has, which only fetch, show or edit files here.
UNIX = {"git", "grep", "sed", "tail", "xargs"}

# Modules that `python -m` runs for the sub-commands of `winning-sign`.
SUB_COMMANDS = {name: command.module.removesuffix(".__main__") for name, command in COMMANDS.items()}
# Commands of ours that take a store and end: run for real, on a small one.
REAL = {
    "orchestrator.status",
    "orchestrator.why",
    "orchestrator.logs",
    "orchestrator.verify",
    "orchestrator.cancel",
    "orchestrator.unlock",
    "orchestrator.gc",
    "analysis.report",
    "analysis.checks",
}
# Commands of ours that need hours, a terminal or files that a reader has: their options are read by themselves, and
# another test runs them.
READ: dict[str, str | None] = {
    "tickets": "tests/tickets/test_command.py",
    "analysis.serve": "tests/analysis/live/test_serve.py",
    "orchestrator.search": "tests/orchestrator/commands/test_search.py",
    "orchestrator.landscape": "tests/orchestrator/commands/test_landscape_command.py",
    "workers.run": "tests/orchestrator/commands/test_sweep.py",
    "orchestrator.spot_notice": "tests/clusters/test_spot_notice.py",
    "benchmarks.faults": "tests/orchestrator/driver/test_faults.py",
    **{
        f"benchmarks.{name}": "tests/benchmarks/test_benchmarks.py"
        for name in ("loader", "precision", "probe", "pruning", "report", "scale", "ticket_io", "training")
    },
    "venv": None,
}
