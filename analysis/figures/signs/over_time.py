"""Signs over time within trainings, when they lock in, and how far psi drifts: by density, epoch, round and layer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.comparisons.labels import density, method_name, number, rank
from analysis.comparisons.statistics import short_keys, spread
from analysis.figures import style
from analysis.figures.panel import DENSITY, Axis, Panel, compose
from analysis.figures.signs.layers_by_round import Drawn, layers_by_round, linear
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

NUMBERS = {
    "sign_flips_percent": ("signs that flip in the round", "%"),
    "sign_lock_in_epochs": ("epochs until the signs lock in", "epochs"),
    "psi_drift_rms": ("drift of ψ", ""),
}
NOT_RECORDED = "No round has recorded its signs over time; stages of earlier versions have none."


def signs_by_density(frames: Frames) -> go.Figure:
    """Draw each method's flips, lock-in and drift of psi by the density of the round, mean over chains.

    Three panels per section, each with one standard deviation; no traces if no round recorded its signs.
    """
    panels, words = [], []
    for part in sections(frames):
        rounds = part.frames.stages[part.frames.stages["kind"].isin(["pretrain", "round"])]
        rounds = rounds[rounds["round"].notna() & rounds["method"].notna()]
        for column, (title, unit) in NUMBERS.items():
            means = spread(rounds, ["method", "round"], column)
            traces = [_line(name, means[means["method"] == name], unit) for name in _methods(means)]
            axis = Axis(f"{title} ({unit})" if unit else title, from_zero=True)
            panels.append(Panel(f"{part.prefix}{title}", traces, DENSITY, axis))
            words += [f"{part.title}: {title}, {'; '.join(_ends(means, unit))}."] if traces else []
    return compose(panels, " ".join(words) or NOT_RECORDED, columns=3 if len(panels) == 3 else 2)


def signs_over_time(frames: Frames) -> go.Figure:
    """Draw the share of survivors with the ticket's sign by epoch, in rounds 0, 1 and the last of each first chain.

    A panel per round and section, a line per method; no traces if no round recorded its signs.
    """
    drawn = {part.title: [*_courses(part)] for part in sections(frames)}
    words = [f"{title}: {'; '.join(word for _, word in each)}." for title, each in drawn.items() if each]
    panels = [panel for each in drawn.values() for panel, _ in each]
    return compose(panels, " ".join(words) or NOT_RECORDED, columns=2)


def sign_flips_over_time(frames: Frames) -> go.Figure:
    """Draw the percentage of each layer's survivors that flip in an epoch of the last round, epochs across.

    One panel per section and method; no traces if no round recorded its signs.
    """
    drawn = Drawn(_flips, _flips_in_words, linear, "signs flipped per epoch (%)", NOT_RECORDED, "%", "epoch")
    return layers_by_round(frames, drawn)


def sign_lock_in(frames: Frames) -> go.Figure:
    """Draw the epochs until each layer's signs lock in, rounds across.

    One panel per section and method; no traces if no round recorded its signs.
    """
    return layers_by_round(frames, Drawn(_lock_in, _lock_in_in_words, linear, "epochs", NOT_RECORDED, "epochs"))


def psi_drift(frames: Frames) -> go.Figure:
    """Draw how far psi of each normalization layer is from its initialisation after each round.

    One panel per section and method; no traces if no round recorded it.
    """
    return layers_by_round(frames, Drawn(_drift, _drift_in_words, linear, "drift of ψ", NOT_RECORDED, ""))


def _methods(rows: pd.DataFrame) -> list[str]:
    return sorted(rows["method"].unique(), key=rank)


def _line(name: str, rows: pd.DataFrame, unit: str) -> go.Scatter:
    label = style.text(method_name(name))
    look = style.line(name, "signed") | {"name": label, "legendgroup": label, "meta": {"method": name}}
    return go.Scatter(
        x=rows["density"],
        y=rows["mean"],
        error_y=style.error_bars(rows["sd"]),
        customdata=style.points(rows, "round"),
        hovertemplate=f"%{{y:.2f}} {unit}<br>%{{customdata[0]}}",
        **look,
    )


def _ends(means: pd.DataFrame, unit: str) -> Iterator[str]:
    for name in _methods(means):
        of_method = means[means["method"] == name].sort_values("round")
        ends = [of_method.iloc[0]] if len(of_method) == 1 else [of_method.iloc[0], of_method.iloc[-1]]
        points = [f"{number(row['mean'])} {unit}".strip() + f" at density {density(row['density'])}" for row in ends]
        yield f"under {method_name(name)} {' and '.join(points)}"


def _courses(section: Section) -> Iterator[tuple[Panel, str]]:
    """Yield a panel per round, with its words."""
    rows = section.frames.signs_over_time
    for round_, of_round in rows.groupby("round"):
        traces, words = [], []
        for name in _methods(of_round):
            course = _whole(of_round[of_round["method"] == name])
            traces.append(_course(name, course))
            first = course[course["epochs"] > 0]["agreement"]
            words.append(f"{number(course['agreement'].iloc[0])} % at the start of {method_name(name)}'s round")
            words[-1] += f" and {number(first.iloc[0])} % at the next record" if len(first) else ""
        panel = Panel(f"{section.prefix}round {round_}", traces, Axis("epoch", from_zero=True), Axis("agreement (%)"))
        yield panel, f"in round {round_}, signs equal to the ticket's are {', '.join(words)}"


def _whole(course: pd.DataFrame) -> pd.DataFrame:
    """Return the agreement over all layers by epoch."""
    agreeing = (course["agreement_percent"] * course["elements"]).groupby(course["epochs"]).sum()
    survivors = course["elements"].groupby(course["epochs"]).sum()
    table = pd.DataFrame({"agreement": agreeing / survivors.where(survivors > 0)}).reset_index()
    return table.assign(density=course["density"].iloc[0], keys=short_keys(course["key"].iloc[:1]))


def _course(name: str, course: pd.DataFrame) -> go.Scatter:
    label = style.text(method_name(name))
    at, keys = course["density"].iloc[0], course["keys"].iloc[0]
    look = style.line(name, "signed") | {"name": label, "legendgroup": label, "meta": {"method": name, "density": at}}
    return go.Scatter(
        x=course["epochs"].round(4),
        y=course["agreement"].round(4),
        customdata=[[f"density {density(at)}", at, keys]] * len(course),
        hovertemplate="%{y:.2f} % after %{x:.3g} epochs<br>%{customdata[0]}",
        **{**look, "marker": {**look["marker"], "size": 4}},
    )


def _flips(section: Section) -> pd.DataFrame:
    rows = section.frames.signs_over_time
    rows = rows[rows["round"] == rows.groupby("method")["round"].transform("max")]
    rows = rows[rows["epochs"] > 0]
    return rows.assign(tensor=rows["parameter"], at=rows["epochs"].round(3), value=rows["flips_percent_per_epoch"])


def _flips_in_words(title: str, rows: pd.DataFrame) -> str:
    words = []
    for name in _methods(rows):
        of_method = rows[rows["method"] == name]
        flips = (of_method["value"] * of_method["elements"]).groupby(of_method["at"]).sum()
        rates = flips / of_method["elements"].groupby(of_method["at"]).sum()
        words.append(
            f"under {method_name(name)} in round {of_method['round'].iloc[0]}, {number(rates.iloc[0])} % an epoch "
            f"until epoch {rates.index[0]:g} and {number(rates.iloc[-1])} % in the last"
        )
    return f"{title}: signs flipped over all layers, {'; '.join(words)}."


def _lock_in(section: Section) -> pd.DataFrame:
    rows = section.frames.signs_by_layer
    rows = rows[rows["flips_percent"].notna()]
    return rows.assign(tensor=rows["parameter"], at=rows["round"], value=rows["lock_in_epochs"])


def _lock_in_in_words(title: str, rows: pd.DataFrame) -> str:
    return f"{title}: signs lock in {'; '.join(_extremes(rows, 'epochs', 'after'))}."


def _drift(section: Section) -> pd.DataFrame:
    """Return the drift of scales and shifts together, by layer."""
    rows = section.frames.signs_by_layer
    rows = rows[rows["drift_rms"].notna()]
    rows = rows.assign(
        tensor=rows["parameter"].str.replace(r"\.[^.]*$", "", regex=True),
        squares=rows["elements"] * rows["drift_rms"] ** 2,
    )
    by = ["method", "chain", "round", "tensor", "key", "density"]
    sums = rows.groupby(by, sort=False)[["squares", "elements"]].sum().reset_index()
    return sums.assign(at=sums["round"], value=np.sqrt(sums["squares"] / sums["elements"]))


def _drift_in_words(title: str, rows: pd.DataFrame) -> str:
    drifts = "; ".join(_extremes(rows, "", "by"))
    return f"{title}: ψ drifts {drifts}. Where ψ stays near its initialisation, AWS changes little, and trains as LRR."


def _extremes(rows: pd.DataFrame, unit: str, word: str) -> Iterator[str]:
    """Yield each method's lowest and highest layer in its last round, in words."""
    for name in _methods(rows):
        of_method = rows[rows["method"] == name]
        last = of_method[of_method["round"] == of_method["round"].max()]
        layers = last.groupby("tensor")["value"].mean().dropna()
        if len(layers):
            low, high = (f"{number(float(each))} {unit}".strip() for each in (layers.min(), layers.max()))
            round_, ends = last["round"].iloc[0], f"{low} in {layers.idxmin()} to {high} in {layers.idxmax()}"
            yield f"under {method_name(name)} in round {round_} {word} {ends}"
