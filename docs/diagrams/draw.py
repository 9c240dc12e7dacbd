"""Draw the pictures of docs/concepts.md: ``python docs/diagrams/draw.py`` writes them beside itself.

A drawing follows the light or dark of the reader's system, and on the site its switch (docs/_static/site.css).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from random import Random

STYLE = """
  .drawing-svg { --ink: #1c1d1f; --soft: #5b616a; --line: #c3c8cf; --fill: #ffffff; --panel: #f4f6f8;
    --plus: #0067a5; --minus: #c14e00; --good: #00795c;
    font: 14px -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
  @media (prefers-color-scheme: dark) { .drawing-svg { --ink: #e6e8eb; --soft: #a3abb5; --line: #4a515a;
    --fill: #1d2024; --panel: #24282d; --plus: #6cbcf0; --minus: #ff9b57; --good: #4fcfa8; } }
  .drawing-svg text { fill: var(--ink); } .drawing-svg .soft { fill: var(--soft); font-size: 12.5px; }
  .drawing-svg .mono { font-family: ui-monospace, monospace; font-size: 12.5px; }
  .drawing-svg .head { font-weight: 600; } .drawing-svg .middle { text-anchor: middle; }
  .drawing-svg .plus { fill: var(--plus); } .drawing-svg .minus { fill: var(--minus); }
  .drawing-svg .good { fill: var(--good); } .drawing-svg .end { text-anchor: end; }
  .drawing-svg .box { fill: var(--fill); stroke: var(--line); stroke-width: 1.2; }
  .drawing-svg .panel { fill: var(--panel); } .drawing-svg .none { fill: none; }
  .drawing-svg .arrow { fill: none; stroke: var(--soft); stroke-width: 1.4; marker-end: url(#tip); }
  .drawing-svg .stroke { fill: none; stroke: var(--soft); stroke-width: 1.4; }
  .drawing-svg .dash { stroke-dasharray: 4 4; } .drawing-svg .tip { fill: var(--soft); }
  .drawing-svg .line-plus { fill: none; stroke: var(--plus); stroke-width: 2.2; }
  .drawing-svg .line-minus { fill: none; stroke: var(--minus); stroke-width: 2.2; }
  .drawing-svg .line-good { fill: none; stroke: var(--good); stroke-width: 2.2; }
"""
TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
)


def svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """Return a drawing of this size; a screen reader reads its title."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing-svg" viewBox="0 0 {width} {height}" width="{width}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n{TIP}\n{body}\n</svg>\n"
    )


def text(x: float, y: float, words: str, style: str = "") -> str:
    """Place words at a point of their base line: beginning there, or with the style ``middle`` centred."""
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, *words: str, style: str = "box") -> str:
    """Draw a rounded box around lines of words, the first in a heavier type."""
    first = y + height / 2 + 5 - 9 * (len(words) - 1)
    lines = [
        text(x + width / 2, first + 18 * i, line, "middle" if i == 0 else "middle soft") for i, line in enumerate(words)
    ]
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7" class="{style}"/>' + "".join(lines)


def path(points: Iterable[tuple[float, float]], style: str = "arrow") -> str:
    """Draw straight strokes through points."""
    through = " L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path d="M{through}" class="{style}"/>'


def curve(of: Callable[[float], float], x: float, y: float, width: float, style: str) -> str:
    """Plot a function over 0 to 1; its values are points upwards."""
    return path(((x + width * i / 48, round(y - of(i / 48), 1)) for i in range(49)), style)


def ticket() -> str:
    """Show trained weights, their ticket, and the signed transfer of the ticket."""
    random = Random(4)
    trained = [[random.gauss(0, 1) for _ in range(6)] for _ in range(4)]
    fresh = [[random.gauss(0, 0.7) for _ in range(6)] for _ in range(4)]
    threshold = sorted(abs(value) for row in trained for value in row)[-10]
    signs = [[0 if abs(value) < threshold else 1 if value > 0 else -1 for value in row] for row in trained]

    def grid(left: float, cell: Callable[[int, int], tuple[float, str]]) -> list[str]:
        parts = [f'<rect x="{left}" y="46" width="174" height="118" rx="8" class="box"/>']
        for row in range(4):
            for column in range(6):
                value, word = cell(row, column)
                centre_x, centre_y = left + 17 + 28 * column, 63 + 28 * row
                style = "plus" if value > 0 else "minus"
                if word:
                    parts.append(text(centre_x, centre_y + 5, word, f"middle head {style if value else 'soft'}"))
                elif value:
                    radius = round(min(12.0, 3 + 6.5 * abs(value)), 1)
                    parts.append(f'<circle cx="{centre_x}" cy="{centre_y}" r="{radius}" class="{style}"/>')
        return parts

    return svg(
        740,
        228,
        "A ticket: trained weights give signs, fresh weights give magnitudes",
        [
            *(text(97 + 262 * i, 30, word, "middle head") for i, word in enumerate(("trained weights", "ticket"))),
            text(621, 30, "signed transfer", "middle head"),
            *grid(10, lambda r, c: (trained[r][c], "")),
            *grid(272, lambda r, c: (signs[r][c], "·+−"[signs[r][c]])),
            *grid(534, lambda r, c: (abs(fresh[r][c]) * signs[r][c], "" if signs[r][c] else "·")),
            path([(192, 105), (264, 105)]),
            text(228, 95, "prune", "middle soft"),
            path([(454, 105), (526, 105)]),
            text(490, 95, "apply", "middle soft"),
            text(97, 190, "a sign and a magnitude each", "middle soft"),
            text(359, 190, "the sign of each survivor:", "middle soft"),
            text(359, 208, "+, −, or pruned (·)", "middle soft"),
            text(621, 190, "|fresh initialisation| × sign:", "middle soft"),
            text(621, 208, "no magnitude was carried over", "middle soft"),
        ],
    )


def psi() -> str:
    """Show the scale and shift that a forward pass in training uses, for LRR and AWS."""
    random = Random(1)
    alphas = [(i + random.random()) / 16 for i in range(16)]

    def row(y: int, name: str, note: str) -> list[str]:
        return [
            text(16, y - 8, name, "head"),
            text(16, y + 12, note, "soft"),
            path([(250, y), (650, y)], "stroke"),
            f'<circle cx="250" cy="{y}" r="6" class="box"/>',
            f'<circle cx="650" cy="{y}" r="6" class="plus"/>',
        ]

    return svg(
        720,
        232,
        "LRR trains with psi as it is; AWS draws a point between its initialisation and psi for every batch",
        [
            text(250, 34, "initial ψ: scale 1, shift 0", "middle"),
            text(650, 34, "trained ψ", "middle"),
            *row(78, "LRR", "every batch: ψ itself"),
            *row(150, "AWS", "each batch: its own α ~ U(0, 1)"),
            *(
                f'<circle cx="{round(650 - 400 * a, 1)}" cy="150" r="4.5" class="minus" opacity="0.75"/>'
                for a in alphas
            ),
            '<circle cx="650" cy="78" r="10" class="none" stroke="var(--minus)" stroke-width="2.2"/>',
            text(250, 184, "α = 1", "middle soft"),
            text(650, 184, "α = 0", "middle soft"),
            text(450, 184, "α · initial ψ + (1 − α) · ψ", "middle soft"),
            text(360, 218, "orange: what training sees. Evaluation and the final training see α = 0.", "middle soft"),
        ],
    )


def stages() -> str:
    """Show the stages of one chain of one method."""
    return svg(
        760,
        330,
        "The stages of one chain: pretraining, rounds, trainings from the ticket, probes between their solutions",
        [
            '<rect x="8" y="14" width="744" height="82" rx="10" class="panel"/>',
            box(24, 32, 112, 46, "Pretrain", "round 0"),
            path([(136, 55), (166, 55)]),
            box(168, 32, 112, 46, "Round 1", "prune, train"),
            path([(280, 55), (310, 55)]),
            box(312, 32, 112, 46, "Round 2", "prune, train"),
            path([(424, 55), (480, 55)], "arrow dash"),
            box(482, 32, 112, 46, "Round T", "prune, train"),
            path([(594, 55), (634, 55)]),
            text(686, 51, "ticket", "middle head good"),
            text(686, 69, "and weights", "middle soft"),
            path([(686, 78), (686, 120), (94, 120), (94, 140)]),
            path([(300, 120), (300, 140)]),
            path([(484, 120), (484, 140)]),
            path([(668, 120), (668, 140)]),
            box(24, 142, 140, 50, "retrain", "weights and mask"),
            box(220, 142, 160, 50, "signed transfer", "seeds 1…N"),
            box(404, 142, 160, 50, "its twin", "another SGD seed"),
            box(588, 142, 160, 50, "mask transfer", "seeds 1…N"),
            path([(94, 192), (94, 222), (110, 222), (110, 244)], "arrow"),
            path([(270, 192), (270, 222), (180, 222), (180, 244)], "arrow"),
            box(72, 246, 150, 50, "LMC probe", "barrier to the solution"),
            path([(330, 192), (330, 222), (370, 222), (370, 244)], "arrow"),
            path([(484, 192), (484, 222), (440, 222), (440, 244)], "arrow"),
            box(322, 246, 166, 50, "stability probe", "barrier between twins"),
            box(588, 246, 160, 50, "dense", "the whole network"),
            text(668, 316, "from its own initialisation", "middle soft"),
            text(147, 316, "retrain and transfer", "middle soft"),
            text(405, 316, "two trainings of one start", "middle soft"),
        ],
    )


def barrier() -> str:
    """Show the error along two straight paths, and the height called barrier."""
    ends = 18.0

    def hill(height: float) -> Callable[[float], float]:
        return lambda t: ends + height * math.sin(math.pi * t) ** 2

    left, base, width = 90, 210, 430
    return svg(
        720,
        262,
        "Test error along the straight path between two solutions; its rise above the ends' mean is the barrier",
        [
            path([(left, 26), (left, base), (left + width + 16, base)], "stroke"),
            text(left - 12, 40, "test", "end soft"),
            text(left - 12, 56, "error", "end soft"),
            text(left, base + 22, "λ = 0", "middle soft"),
            text(left, base + 40, "the ticket's retrain", "middle soft"),
            text(left + width, base + 22, "λ = 1", "middle soft"),
            text(left + width, base + 40, "a transfer's solution", "middle soft"),
            curve(hill(142), left, base, width, "line-minus"),
            curve(hill(20), left, base, width, "line-plus"),
            path([(left, base - ends), (left + width, base - ends)], "stroke dash"),
            path([(left + width / 2, base - ends), (left + width / 2, base - ends - 140)], "arrow"),
            text(left + width / 2 + 12, base - 92, "barrier", "head"),
            text(544, 66, "mask transfer:", "minus head"),
            text(544, 85, "another basin", "soft"),
            text(544, 150, "signed transfer:", "plus head"),
            text(544, 169, "the same basin", "soft"),
            text(left + 10, base - ends + 14, "mean of the ends", "soft"),
        ],
    )


def keys() -> str:
    """Show how settings and inputs give a key, a folder, and the record that makes a stage done."""
    return svg(
        760,
        300,
        "A stage's settings and its inputs' keys are hashed into its key, which names its folder in the store",
        [
            '<rect x="10" y="14" width="226" height="166" rx="8" class="box"/>',
            text(26, 40, "science", "head"),
            text(26, 64, "kind, version", "mono"),
            text(26, 84, "data set’s fingerprint", "mono"),
            text(26, 104, "network, optimizer, epochs", "mono"),
            text(26, 124, "seeds, preset, alpha", "mono"),
            text(26, 148, "its inputs’ keys", "mono good"),
            text(26, 168, "a field at its default: left out", "soft"),
            path([(236, 96), (306, 96)]),
            text(271, 86, "blake2b", "middle soft"),
            box(308, 72, 126, 48, "key", "3f2a9c…"),
            path([(434, 96), (480, 96)]),
            '<rect x="482" y="14" width="268" height="166" rx="8" class="box"/>',
            text(498, 40, "stages/round/…-3f2a9c…/", "mono"),
            text(514, 66, "stage.json", "mono"),
            text(610, 66, "what it computes", "soft"),
            text(514, 90, "attempts/1/", "mono"),
            text(610, 90, "interrupted", "soft"),
            text(514, 114, "attempts/2/out/", "mono"),
            text(640, 114, "its files", "soft"),
            text(514, 144, "record.json", "mono good"),
            text(610, 144, "the commit:", "soft"),
            text(610, 162, "written once, last", "soft"),
            path([(371, 120), (371, 236), (480, 236)], "arrow dash"),
            text(382, 226, "key of an input", "soft"),
            box(482, 212, 268, 50, "the next stage’s science", "a change here changes all after it"),
            '<rect x="10" y="212" width="226" height="76" rx="8" class="panel"/>',
            text(26, 236, "no part of it", "head"),
            text(26, 258, "device, cluster, paths, retries,", "soft"),
            text(26, 276, "checkpoints, logging", "soft"),
        ],
    )


def presets() -> str:
    """Show which images each preset reads, and when."""

    def bar(y: int, parts: list[tuple[float, str, str]]) -> list[str]:
        left, drawn = 150.0, []
        for width, words, style in parts:
            drawn.append(f'<rect x="{left}" y="{y}" width="{width - 4}" height="40" rx="6" class="{style}"/>')
            drawn.append(text(left + (width - 4) / 2, y + 25, words, "middle"))
            left += width
        return drawn

    return svg(
        750,
        226,
        "Preset sound holds out validation images and reads the test set once; reference watches the test set",
        [
            text(366, 24, "training images", "middle soft"),
            text(642, 24, "test images", "middle soft"),
            text(16, 64, "sound", "head"),
            *bar(40, [(370, "trained on", "box"), (62, "held out", "panel"), (124, "read once", "box")]),
            text(522, 100, "every choice", "middle soft"),
            text(642, 100, "after the last epoch", "middle soft"),
            text(16, 154, "reference", "head"),
            *bar(130, [(432, "trained on", "box"), (124, "every epoch", "box")]),
            text(366, 190, "as in the released code", "middle soft"),
            text(642, 190, "watched, not chosen by", "middle soft"),
            text(16, 218, "The report keeps the two apart: no mean, no comparison and no figure mixes them.", "soft"),
        ],
    )


DRAWINGS: dict[str, Callable[[], str]] = {
    "ticket": ticket,
    "psi": psi,
    "stages": stages,
    "barrier": barrier,
    "keys": keys,
    "presets": presets,
}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        Path(__file__).with_name(f"{name}.svg").write_text(draw())
