"""How a test runs each program that a document calls, or which other test runs it."""

from __future__ import annotations

from orchestrator.__main__ import SUB_COMMANDS as COMMANDS

CLUSTERS = "tests/clusters/test_files.py"

# Programs that reach other machines: the file that tests a document's steps, and words of that file.
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
# Programs that only fetch, show or edit files here.
UNIX = {"cp", "git", "grep", "id", "mkdir", "sed", "tail", "xargs"}

# Modules that `python -m` runs for the sub-commands of `winning-sign`.
SUB_COMMANDS = {name: module.removesuffix(".__main__") for name, (module, *_) in COMMANDS.items()}
# Our commands that take a store and end: run for real, on a small store.
REAL = {
    "orchestrator.status",
    "orchestrator.why",
    "orchestrator.logs",
    "orchestrator.export",
    "orchestrator.verify",
    "orchestrator.cancel",
    "orchestrator.unlock",
    "orchestrator.gc",
    "analysis.report",
    "analysis.checks",
    "analysis.judge",
}
# Our commands that need hours, a terminal or a reader's files: a test reads their options, and another test runs them.
READ: dict[str, str | None] = {
    "tickets": "tests/tickets/test_command.py",
    "analysis.serve": "tests/analysis/live/test_serve.py",
    "orchestrator.search": "tests/orchestrator/commands/test_search.py",
    "orchestrator.landscape": "tests/orchestrator/commands/test_landscape_command.py",
    "workers.run": "tests/orchestrator/commands/test_sweep.py",
    "orchestrator.spot_notice": "tests/clusters/test_spot_notice.py",
    "benchmarks.faults": "tests/orchestrator/driver/test_faults.py",
    "benchmarks.fuzz": "tests/benchmarks/test_fuzz.py",
    "benchmarks.gpu_facts": "tests/benchmarks/test_first_gpu_run.py",
    "benchmarks.write": "tests/benchmarks/test_write.py",
    **{
        f"benchmarks.{name}": "tests/benchmarks/test_benchmarks.py"
        for name in (
            "claims",
            "demo",
            "loader",
            "precision",
            "probe",
            "pruning",
            "reestimation",
            "report",
            "scale",
            "signs",
            "ticket_io",
            "training",
        )
    },
    "venv": None,
}
