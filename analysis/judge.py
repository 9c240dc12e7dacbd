"""``winning-sign judge``: what the results of a store show, at the looks of its studies.

>>> analysis.comparisons.judgements.judgements(analysis.load("runs/mnist1d"))    # or: winning-sign judge runs/mnist1d
"""

from __future__ import annotations

from analysis.comparisons.judgements import judgements
from analysis.frames.load import load
from orchestrator.store import StoreError
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json, tell_left_out
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign judge sweeps
winning-sign judge s3://bucket/sweeps --json
"""
app = new_app()


@add_command(app, EXAMPLES)
def judge(store: StorePath, json_: AsJson = False) -> None:
    """Say what the results of a store show, and how sure it is.

    Results are judged at the looks that the study planned: by default once, when all its chains are done. Before that
    they are preliminary.
    """
    with one_sentence(StoreError, OSError):
        frames = load(store, tickets=False, leave_out=True)
        tell_left_out(frames.left_out, store)
        if frames.stages.empty:
            raise StoreError(f"{store}: no stage is done in this folder; give the folder of a sweep's store")
        parts = judgements(frames)
    if json_:
        print_json({"store": store, "parts": parts})
        return
    out = console()
    for part in parts:
        out.print(f"{part['dataset']} · {part['architecture']} · {part['preset']}", style="bold")
        for line in (f"{part['verdict']}. {part['ground']}", part["study"], *part["answers"]):
            out.print(line, soft_wrap=True)


if __name__ == "__main__":
    app()
