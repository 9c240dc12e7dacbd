"""Tables for papers: booktabs, and every text escaped."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

_SIGNS = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": "$-$",
    "ψ": r"$\psi$",
    "λ": r"$\lambda$",
    "·": r"$\cdot$",
    "\N{NO-BREAK SPACE}": "~",
}


def escaped(text: str) -> str:
    """Text that LaTeX sets as it reads."""
    return "".join(_SIGNS.get(sign, sign) for sign in " ".join(text.splitlines()))


def table(rows: pd.DataFrame, caption: str, widths: Sequence[str] | None = None) -> str:
    """A ``table`` that needs the booktabs package.

    Args:
        rows: cells as text, with the heads as columns' names.
        widths: LaTeX's column types; by default "l" for each.
    """
    kinds = "".join(widths or ["l"] * rows.shape[1])
    heads = " & ".join(escaped(str(name)) for name in rows.columns)
    lines = [" & ".join(escaped(str(cell)) for cell in row) + r" \\" for row in rows.itertuples(index=False)]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{escaped(caption)}}}",
            rf"\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            heads + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
