"""``winning-sign judge``: what the results of one store or several show, at the looks of its studies.

>>> analysis.comparisons.judgements.judgements(analysis.load("runs/mnist1d"))    # or: winning-sign judge runs/mnist1d
"""

from __future__ import annotations

from analysis.comparisons.judgements import judgements
from analysis.reading import read
from orchestrator.store import StoreError
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json
from workers.terminal.options import StorePaths

EXAMPLES = """
winning-sign judge sweeps
winning-sign judge s3://bucket/sweeps --json
winning-sign judge mine theirs
"""
app = new_app()


@add_command(app, EXAMPLES)
def judge(stores: StorePaths, json_: AsJson = False) -> None:
    """Say what the results of one store or several show, and how sure it is.

    Results are judged at the looks that the study planned: by default once, when all its chains are done. Before that
    they are preliminary. A stage that several stores hold is one result.
    """
    with one_sentence(StoreError, OSError):
        reader, frames = read(stores, tickets=False, done=True)
        parts = judgements(frames)
    if json_:
        print_json({"store": reader.root, "stores": frames.stores, "parts": parts})
        return
    out = console()
    for part in parts:
        out.print(f"{part['dataset']} · {part['architecture']} · {part['preset']}", style="bold")
        for line in (f"{part['verdict']}. {part['ground']}", part["study"], *part["answers"]):
            out.print(line, soft_wrap=True)


if __name__ == "__main__":
    app()
