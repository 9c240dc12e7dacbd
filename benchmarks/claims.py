"""False claims, power and coverage of the rules that call a difference shown, by simulated studies.

Each study has several comparisons over chains with nested seeds; `analysis.comparisons.answers.judge` judges every one,
as it does for the report. The last rule is for comparison: a plain 95 % t interval after every chain.

    python -m benchmarks.claims                        # 2,000 studies a row: about ten minutes
    python -m benchmarks.claims --studies 200 --seed 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparisons.answers import judge
from analysis.comparisons.power import chains_needed
from analysis.comparisons.questions import SIGNS_CARRY
from analysis.comparisons.sentences import NOT_SHOWN, REVERSE, SHOWN
from analysis.comparisons.statistics import LEVEL, difference, spread
from analysis.comparisons.study import Look, Study, shares, spending
from benchmarks.machine import describe_machine
from benchmarks.table import print_table

Floats = NDArray[np.float64]
COMPARISONS, PRIMARY = 14, 2
MOST_CHAINS, SEEDS = 12, 3
CHAIN_SD, SEED_SD, MARGIN = 1.0, 1.0, 1.0
SPREAD = (CHAIN_SD**2 + SEED_SD**2 / SEEDS) ** 0.5  # of a chain's mean difference
EFFECTS = (0.5, 1.0, 2.0, 4.0)  # in units of SPREAD


@dataclass(frozen=True)
class Rule:
    """When a study looks, and whether it goes on: all looks are planned, or each that extends it is a new one."""

    name: str
    chains: tuple[int, ...]
    planned: int


RULES = (
    Rule("3 chains", (3,), 1),
    Rule("6 chains", (6,), 1),
    Rule("12 chains", (12,), 1),
    Rule("looks at 3, 6, 12", (3, 6, 12), 3),
    Rule("a look after each chain, 3 to 12", tuple(range(3, 13)), 10),
    Rule("3 chains, then extended to 6, 9, 12 until shown", (3, 6, 9, 12), 1),
    Rule("3 chains, then one more at a time until shown", tuple(range(3, 13)), 1),
)
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
NOISES: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    # a difference of two barriers: each is non-negative and skewed
    "skewed": lambda rng, shape: (rng.exponential(size=shape) - rng.exponential(size=shape)) / 2**0.5,
    # barriers of two methods with equal means, of which one varies twice as much as the other
    "unlike sides": lambda rng, shape: (rng.gamma(1, 2, shape) - rng.gamma(4, 0.5, shape)) / 5**0.5,
    # chains that differ in their noise, as chains of different tickets do
    "unequal": lambda rng, shape: (
        rng.standard_normal(shape) * rng.uniform(0.3, 1.7, (*shape[:2], *(1,) * len(shape[2:])))
    ),
}


def simulate(rng: np.random.Generator, noise: str, effect: float) -> list[pd.DataFrame]:
    """Draw one study's pairs: a frame per comparison, the first of them with an effect.

    Comparisons share half of their variance, as measurements on the same tickets do. Some seeds are missing.
    """
    draw = NOISES[noise]
    common = draw(rng, (1, MOST_CHAINS))
    own = draw(rng, (COMPARISONS, MOST_CHAINS))
    seeds = draw(rng, (COMPARISONS, MOST_CHAINS, SEEDS))
    values = CHAIN_SD * (common + own)[:, :, None] / 2**0.5 + SEED_SD * seeds
    values[0] += effect * SPREAD
    chain, seed = np.indices((MOST_CHAINS, SEEDS)).reshape(2, -1) + 1
    kept = (seed == 1) | (rng.random(seed.shape) > 0.1)
    return [
        pd.DataFrame({"chain": chain[kept], "seed": seed[kept], "difference": each.reshape(-1)[kept]})
        for each in values
    ]


def outcomes(rule: Rule, pairs: Sequence[pd.DataFrame]) -> Iterator[tuple[str, int]]:
    """Yield each comparison's outcome under a rule, and the chains of the look that decided."""
    spent = spending(rule.chains, rule.planned)
    looks = tuple(
        Look(chains, SEEDS, share, number < rule.planned, done=True)
        for number, (chains, share) in enumerate(zip(rule.chains, spent, strict=True))
    )
    study = Study(looks, (), MARGIN, True, False, MOST_CHAINS, MOST_CHAINS, 0, 0)
    for frame, share in zip(pairs, shares(len(pairs), set(range(PRIMARY))), strict=True):
        judgement = judge(SIGNS_CARRY, frame, ("chain",), study, share)
        yield judgement.outcome, judgement.chains or rule.chains[-1]


def naive(pairs: Sequence[pd.DataFrame]) -> Iterator[tuple[str, int]]:
    """Yield what is shown as soon as its plain 95 % interval, looked at after every chain, excludes 0."""
    for frame in pairs:
        outcome, at = NOT_SHOWN, MOST_CHAINS
        for chains in range(3, MOST_CHAINS + 1):
            low, high = difference(frame[frame["chain"] <= chains]).interval()
            if low > 0 or high < 0:
                outcome, at = (SHOWN if low > 0 else REVERSE), chains
                break
        yield outcome, at


def _coverage(studies: int, rng: np.random.Generator, noise: str, chains: int) -> tuple[float, float]:
    """Return how often the 95 % interval of a difference, and that of a mean, hold the true value."""
    hits = [0, 0]
    for _ in range(studies):
        frame = simulate(rng, noise, 0.0)[0]
        frame = frame[frame["chain"] <= chains]
        low, high = difference(frame).interval()
        hits[0] += low <= 0 <= high
        means = frame.assign(key="", density=1.0, group=1).rename(columns={"difference": "x"})
        [row] = spread(means, ["group"], "x").to_dict("records")
        hits[1] += row["low"] <= 0 <= row["high"]
    return hits[0] / studies, hits[1] / studies


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a rule that the report offers calls something shown, without any effect, in clearly more than 5 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, metavar="N", help="simulated studies per row")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the random draws")
    parser.add_argument("--only-coverage", action="store_true", help="print the last table alone: a few minutes")
    given = parser.parse_args(arguments)
    studies, seed = max(1, given.studies), given.seed
    print(describe_machine())
    print(f"{studies:,} studies a row; {COMPARISONS} comparisons, {PRIMARY} of them primary; {SEEDS} nested seeds")
    failed = [] if given.only_coverage else _print_claims(studies, seed)
    _print_coverage(studies, seed)
    for name, noise in failed:
        print(f"More than 5 %: {name} ({noise})")
    return 1 if failed else 0


def _print_claims(studies: int, seed: int) -> list[tuple[str, str]]:
    """Print false claims and power; return the rules, and the noise, that claim something falsely too often."""
    rng = np.random.default_rng(seed)
    limit = LEVEL + 3 * (LEVEL * (1 - LEVEL) / studies) ** 0.5
    rules: dict[str, Callable[[Sequence[pd.DataFrame]], Iterator[tuple[str, int]]]] = {
        rule.name: partial(outcomes, rule) for rule in RULES
    }
    rules["plain 95 % intervals after each chain"] = naive
    failed, rows = [], []
    for noise in NOISES:
        false = dict.fromkeys(rules, 0)
        for _ in range(studies):
            pairs = simulate(rng, noise, 0.0)
            for name, judged in rules.items():
                false[name] += any(outcome in (SHOWN, REVERSE) for outcome, _ in judged(pairs))
        rows += [[name, noise, f"{100 * count / studies:.1f} %"] for name, count in false.items()]
        failed += [(name, noise) for name in list(rules)[:-1] if false[name] / studies > limit]
    print_table(["rule", "noise", "any false claim"], rows)

    rows = []
    for effect in EFFECTS:
        frames = [simulate(rng, "normal", effect) for _ in range(max(1, studies // 4))]
        fixed = chains_needed(effect * SPREAD, SPREAD, LEVEL)
        for name, judged in rules.items():
            first = [next(iter(judged(pairs))) for pairs in frames]
            shown = sum(outcome == SHOWN for outcome, _ in first) / len(first)
            used = sum(chains for _, chains in first) / len(first)
            rows.append([f"{effect:g}", name, f"{100 * shown:.0f} %", f"{used:.1f}", str(fixed)])
    print_table(
        ["effect (sd of chains)", "rule", "shown", "mean chains", "one t test at 5 %, power 80 %: chains"], rows
    )
    return failed


def _print_coverage(studies: int, seed: int) -> None:
    rng = np.random.default_rng((seed, 1))  # of its own, so that the table is the same alone
    rows = []
    for noise in NOISES:
        for chains in (3, 6, 12):
            of_difference, of_mean = _coverage(studies, rng, noise, chains)
            rows.append([noise, str(chains), f"{100 * of_difference:.1f} %", f"{100 * of_mean:.1f} %"])
    print_table(["noise", "chains", "95 % interval of a difference holds it", "of a mean"], rows)


if __name__ == "__main__":
    raise SystemExit(main())
