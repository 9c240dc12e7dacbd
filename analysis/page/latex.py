"""LaTeX tables with booktabs; every text is escaped."""

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
    """Escape a text, so that LaTeX prints it verbatim."""
    return "".join(_SIGNS.get(sign, sign) for sign in " ".join(text.splitlines()))


def table(rows: pd.DataFrame, caption: str, widths: Sequence[str] | None = None) -> str:
    """Return a ``table`` environment; it needs the package booktabs.

    Args:
        rows: cells as text; the columns' names are the heads.
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
