"""The report's page: complete, offline, small, escaped, and open about missing results."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from analysis import load
from analysis.figures import CATALOGUE
from analysis.frames.sections import sections
from analysis.page.escaping import visible_json
from analysis.page.rendering import render
from analysis.report import app, write_report
from orchestrator.store import Store
from orchestrator.store.layout import stage_folder
from orchestrator.store.leases import HeldLease
from tests.analysis.conftest import SyntheticStore
from workers.terminal.help import GLOSSARY_URL

pytestmark = pytest.mark.slow(seconds=25)

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def written(store: Path, out: Path | None = None) -> Path:
    """Write a store's report, and return its file."""
    return Path(write_report(store, out))


@pytest.fixture(scope="module")
def report(finished_sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the sweep as it is, written once; tests only read it."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "user-cache"))
        return written(Path(shutil.copytree(finished_sweep, folder / "runs")))


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every figure that a store of one training has, in which each text is a plain word."""
    folder = tmp_path_factory.mktemp("harmless")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "user-cache"))
        return written(_with_name(SyntheticStore(folder / "runs"), "harmless"))


def page_text(store: Path, **options: Any) -> str:
    """The words of a store's page, drawn with one figure."""
    return " ".join(Page(one_figure(store, **options)).text.split())


def one_figure(store: Path, **options: Any) -> str:
    """A store's page with the first figure only: drawing all of them takes seconds."""
    return render(load(store), str(store), str, catalogue=CATALOGUE[:1], **options)


def drawn(store: Path) -> int:
    """Count the figures with data: of every section, and of the whole store."""
    frames = load(store)
    once = sum(bool(entry.draw(frames).data) for entry in CATALOGUE if entry.place == "store")
    each = [entry for entry in CATALOGUE if entry.place != "store"]
    return once + sum(bool(entry.draw(part.frames).data) for part in sections(frames) for entry in each)


class Page(HTMLParser):
    """A page as a browser's parser sees it: its elements, its text outside scripts, and its scripts."""

    def __init__(self, page: Path | str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._script: dict[str, str | None] | None = None
        self.feed(page.read_text() if isinstance(page, Path) else page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._script = dict(attrs) if tag == "script" else None
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        else:
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)

    @property
    def stages(self) -> dict[str, Any]:
        """The columns of the stages, as lists; a usual folder follows from kind, name and key."""
        [text] = [text for attributes, text in self.scripts if attributes.get("id") == "stages"]
        columns = json.loads(text)["columns"]
        name, inputs = columns.pop("name"), columns.pop("inputs")
        rows = {
            name: column
            if isinstance(column, list)
            else [column["every"]] * len(columns["key"])
            if "every" in column
            else [column["values"][code] if code >= 0 else None for code in column["codes"]]
            for name, column in columns.items()
        }
        rows["inputs"] = [
            ",".join(columns["key"][stage] if isinstance(stage, int) else stage for stage in stages)
            for stages in inputs
        ]
        rows["name"], words = [], list[str]()
        for begin, end in zip(name["begins"], name["ends"], strict=True):
            words = [*words[:begin], *end.split("/")]
            rows["name"].append("/".join(words))
        stages = zip(*(rows[name] for name in ("folder", "kind", "name", "key")), strict=True)
        return rows | {"folder": [folder or stage_folder(*stage).removeprefix("stages/") for folder, *stage in stages]}

    @property
    def links(self) -> list[str]:
        """The targets of the page's links outside the page, and each stage's record."""
        [text] = [text for attributes, text in self.scripts if attributes.get("id") == "stages"]
        base = json.loads(text)["base"]
        targets = [str(attributes["href"]) for tag, attributes in self.elements if tag == "a"]
        records = [f"{base}/{folder}/record.json" for folder in self.stages["folder"]]
        return [unquote(link) for link in targets if not link.startswith("#")] + [unquote(link) for link in records]

    @property
    def drawings(self) -> list[dict[str, object]]:
        """The figures' JSON."""
        return [json.loads(text) for attributes, text in self.scripts if attributes.get("class") == "drawing"]


def test_the_page_is_small_and_loads_nothing(report: Path) -> None:
    assert report.parts[-2:] == ("runs", "report.html")
    assert report.stat().st_size < 8_000_000
    page = Page(report)
    assert {tag for tag, _ in page.elements}.isdisjoint({"link", "iframe", "img", "object", "embed"})
    loads = [value for _, attributes in page.elements for name, value in attributes.items() if name == "src"]
    assert loads == []
    policies = [a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a]
    assert policies
    assert str(policies[0]).startswith("default-src 'none'")
    scripts = [text for _, text in page.scripts if len(text) < 2_000_000]
    assert not any("http://" in text or "https://" in text for text in scripts)
    assert not list(report.parent.glob(".report.*"))


def test_every_figure_is_on_the_page(report: Path) -> None:
    page = Page(report)
    assert len(page.drawings) == drawn(report.parent) >= 10
    plots = [attributes for _, attributes in page.elements if attributes.get("class") == "plot"]
    assert len(plots) == len(page.drawings)
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {str(plot["aria-describedby"]) for plot in plots} <= ids
    of = "whether signs carry accuracy that masks do not under AWS at density 0.107 on digits: +10.0 points"
    assert f"Not judged yet {of}" in page.text
    assert "Preliminary: 1 of 1 chain" in page.text
    assert "abc123" in page.text
    assert "torch 2.11" in page.text


def test_hostile_names_are_shown_and_never_run(store: SyntheticStore, harmless: Path) -> None:
    page = Page(written(_with_name(store, HOSTILE)))
    assert len(page.scripts) == len(Page(harmless).scripts)
    assert not any(tag == "img" for tag, _ in page.elements)
    assert HOSTILE in page.text
    names = {str(trace.get("name")) for figure in page.drawings for trace in figure["data"]}  # type: ignore[attr-defined]
    assert any("&lt;script&gt;" in name for name in names)  # plotly reads tags in names, so they are escaped twice
    assert not any("<" in name for name in names)


def test_no_text_of_a_store_reorders_or_hides_what_stands_beside_it(store: SyntheticStore, harmless: Path) -> None:
    root = _with_name(store, "evil\u202egnp\x1b[2J\u200b\U000e0041.")
    store.plan(("late\u2066", "a" * 32))
    store.failure("late\u2066", "a" * 32, "bad\x9b\u2028")
    clean = harmless.read_text()
    page = written(root)
    hidden = "\u202e\x1b\u200b\U000e0041\u2066\x9b\u2028"
    for sign in hidden:  # plotly's own code may have some
        assert page.read_text().count(sign) == clean.count(sign), f"{ord(sign):x}"
    parsed = Page(page)
    spelled = r"evil\u202egnp\x1b[2J\u200b\U000e0041."
    assert spelled in parsed.text
    assert r"late\u2066" in parsed.text
    assert r"bad\x9b\u2028" in parsed.text
    values = json.dumps([parsed.stages, parsed.drawings], ensure_ascii=False)
    assert not set(hidden) & set(values)
    assert any(spelled in str(trace.get("name")) for figure in parsed.drawings for trace in figure["data"])  # type: ignore[attr-defined]


def test_json_shows_invisible_characters_and_keeps_the_others() -> None:
    for harmless in (r'{"a<\u003c\u00e4": ["\\u202e", "\n\"\\", "\ud83d\ude00"]}', "[]", r'"\\\\u202e"'):
        assert visible_json(harmless) == harmless
    assert json.loads(visible_json(json.dumps({"\u202e": ["\\\x1b", "\U000e0041", "\udc80"]}))) == {
        r"\u202e": ["\\" + r"\x1b", r"\U000e0041", r"\udc80"]
    }


def test_missing_and_failed_are_listed(sweep: SyntheticStore) -> None:
    late, bad, behind, last = (
        (f"digits/{name}", digit * 32) for name, digit in zip(("late", "bad", "behind", "last"), "abcd", strict=True)
    )
    sweep.plan(late, bad, behind, last, inputs={behind[1]: {"ticket": bad[1]}, last[1]: {"a": behind[1]}})
    sweep.failure(*bad, "loss is not finite at epoch 3")
    text = page_text(sweep.root)
    assert "75 of 79 planned stages done 0 running 1 failed 1 waiting 2 blocked" in text
    assert "final training 51 of 55 done 1 waiting 2 blocked 1 failed" in text
    assert "3 planned stages have no result" in text
    assert "digits/late" in text
    assert "DivergedError: loss is not finite at epoch 3" in text
    assert re.search(r"log: stages/train/\S+/attempts/1/log\.txt", text)


def test_the_page_names_the_machines_with_their_time(store: SyntheticStore) -> None:
    for seed, host in enumerate(("one", "one", "two"), start=1):
        made_on = {"device": "gpu", "processor": "Model", "host": host}
        results = {"test_accuracy_percent": 70.0}
        store.stage("train", {"transfer": "dense", "seed": seed}, results, provenance=made_on, seconds=3600.0)
    text = page_text(store.root)
    assert "one gpu, Model 2 2 2023-11-14 21:13 2023-11-14 22:13 two gpu, Model 1 1 2023" in text


def test_a_stage_that_started_and_did_not_end_is_shown_as_running(sweep: SyntheticStore) -> None:
    sweep.plan(("digits/late", "a" * 32), ("digits/now", "c" * 32), ("digits/ended", "d" * 32))
    events = [
        {"time_unix_s": 1_700_000_000.0, "event": "started", "key": "c" * 32, "name": "digits/now"},
        {"time_unix_s": 1_700_000_001.0, "event": "started", "key": "d" * 32, "name": "digits/ended"},
        {"time_unix_s": 1_700_000_002.0, "event": "interrupted", "key": "d" * 32, "name": "digits/ended"},
    ]
    (sweep.root / "events").mkdir()
    (sweep.root / "events" / "one.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert re.search(r"digits/now ?waiting", page_text(sweep.root))  # its driver is not at work
    lease = HeldLease(Store(sweep.root).storage, ["sweep"])
    text = page_text(sweep.root)
    lease.release()
    assert "1 running 0 failed 2 waiting 0 blocked" in text
    assert re.search(r"digits/now ?running since 2023-11-14 22:13 UTC", text)
    assert re.search(r"digits/ended ?waiting", text)


def test_all_stages_are_on_the_page_once(report: Path) -> None:
    page = Page(report)
    stages = load(report.parent).stages.sort_values("name")
    assert page.stages["key"] == [key[:16] for key in stages["key"]]
    assert page.stages["name"] == stages["name"].tolist()
    assert page.stages["seed"] == stages["seed"].tolist()
    assert page.stages["method"] == [method if isinstance(method, str) else None for method in stages["method"]]
    assert page.stages["files"].count("metrics.parquet,timing.parquet") == 51  # 3 dense, and 4 x 12 of the tickets


def test_the_page_shows_checks_only_if_it_has_them(sweep: SyntheticStore) -> None:
    rules = [
        {"rule": "The test set is read once", "verdict": verdict, "counted": 12, "detail": "of <all>"}
        for verdict in ("holds", "broken", "not checked")
    ]
    text = page_text(sweep.root, checks=rules)
    assert all(f"{verdict} The test set is read once 12 checked · of <all>" in text for verdict in ("holds", "broken"))
    assert "The method's rules" in text
    assert "The method's rules" not in page_text(sweep.root)


def test_only_a_live_page_may_ask_its_server(sweep: SyntheticStore) -> None:
    dead, live = (one_figure(sweep.root, live=live) for live in (False, True))
    assert "connect-src" not in dead
    assert "state.json" not in dead
    assert "connect-src 'self'" in live
    assert "state.json" in live


def test_the_page_begins_with_question_answer_and_how_sure(sweep: SyntheticStore) -> None:
    text = page_text(sweep.root)
    parts = [text.index(word) for word in ("Question Do the signs", "Answer Preliminary", "How sure Signed minus mask")]
    assert parts == sorted(parts)
    assert "+10.0 points under AWS, 95 % interval [7.5, 12.5], n = 3 pairs in 1 chain" in text
    assert "Results of one chain are not judged" in text[parts[-1] :]
    assert "5 % risk" not in text  # nothing is called shown yet


@pytest.mark.parametrize(("rounds", "lead"), [((1,), "path_to_the_solution"), ((1, 2), "accuracy_by_density")])
def test_the_first_figure_is_the_one_that_shows_the_answer(
    store: SyntheticStore, rounds: tuple[int, ...], lead: str
) -> None:
    store.train("dense", 70.0, seed=1)
    for round_ in rounds:
        labels = {"method": "aws", "chain": 1, "round": round_, "seed": 1}
        store.train("signed", 60.0, **labels)
        store.train("mask", 50.0, **labels)
        store.probe("lmc", "signed", (30.0, 36.0, 30.0), **labels)
    shown = [entry for entry in CATALOGUE if entry.name in ("accuracy_by_density", "path_to_the_solution")]
    page = Page(render(load(store.root), str(store.root), str, catalogue=shown))
    figures = [str(attributes["id"]) for tag, attributes in page.elements if tag == "figure"]
    assert figures[0] == f"s1-{lead}"
    assert len(figures) == len(set(figures)) == 2


def test_presets_have_sections_of_their_own(sweep: SyntheticStore) -> None:
    sweep.train("dense", 11.0, seed=1, preset="reference")
    page = Page(one_figure(sweep.root))
    assert "digits · tiny · sound" in page.text
    assert "Dense training reaches 11.0 % (n = 1 training)." in page.text
    assert len(page.drawings) == 2


def test_a_sweep_that_has_only_begun_has_a_page(store: SyntheticStore) -> None:
    store.plan(("digits/first", "a" * 32))
    assert "No stage is done yet." in page_text(store.root)


def test_the_page_says_that_superseded_results_are_left_out(store: SyntheticStore) -> None:
    for epochs in (1, 2):
        labels = {"transfer": "dense", "seed": epochs}
        results = {"density": 1.0, "test_accuracy_percent": 50.0 + epochs}
        store.stage("train", labels, results, science={"epochs": epochs})
    text = page_text(store.root)
    assert "Dense training reaches 52.0 % (n = 1 training)." in text
    assert "1 older result is left out" in text


def test_links_lead_to_records_from_wherever_the_page_lies(tmp_path: Path, sweep: SyntheticStore) -> None:
    root = tmp_path / "runs # 1 %"
    sweep.root.rename(root)
    store = type(sweep)(root)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    page = Page(written(store.root, folder / "page.html"))
    assert page.links.count(GLOSSARY_URL) == 1  # the only link to another site
    records = [link for link in page.links if link != GLOSSARY_URL]
    assert records
    assert all((folder / link).is_file() for link in records)


@pytest.mark.usefixtures("one_figure")
def test_the_command_prints_the_page(store: SyntheticStore, tmp_path: Path) -> None:
    store.train("dense", 70.0, seed=1)
    out = tmp_path / "page.html"
    result = CliRunner().invoke(app, [str(store.root), "--out", str(out)])
    assert (result.exit_code, result.stdout.strip()) == (0, str(out))


def _with_name(store: SyntheticStore, name: str) -> Path:
    """A store in which names, labels, messages and provenance are one and the same text."""
    labels = {"dataset": name, "architecture": name, "transfer": name, "method": name, "chain": 1, "round": 1}
    results = {"density": 0.8, "test_accuracy_percent": 50.0}
    held = {"splits": {name: {"images": 5}}, "left_out_files": {name: 1}, "fingerprint_covers": name}
    provenance = {"git_commit": name, "device": name, "packages": {name: name}, "data": held}
    store.stage("train", {**labels, "seed": 1}, results, name=f"{name}done", provenance=provenance)
    store.plan((name, "a" * 32))
    store.failure("bad", "b" * 32, name)
    return store.root


def test_the_page_says_when_one_parts_stages_were_computed_on_different_processors(store: SyntheticStore) -> None:
    for seed, model in enumerate(("Old CPU, AVX2", "Old CPU, AVX2", None), start=1):
        made_on = {"git_commit": "abc123", "device": "cpu (x86_64)", "host": "h", "python": "3.11", "processor": model}
        store.stage("train", {"transfer": "dense", "seed": seed}, {"test_accuracy_percent": 70.0}, provenance=made_on)
    assert "Different devices" not in page_text(store.root)  # what is not recorded is not known to differ
    made_on = {"git_commit": "abc123", "device": "cpu (x86_64)", "processor": "New CPU, AVX512"}
    store.stage("train", {"transfer": "dense", "seed": 4}, {"test_accuracy_percent": 70.0}, provenance=made_on)
    text = page_text(store.root)
    assert "Different devices computed these stages: Old CPU, AVX2 (2 stages), New CPU, AVX512 (1 stage)." in text


def _read(images: int, fewest: int, **more: Any) -> dict[str, Any]:
    """Provenance of a stage that read ``images`` training images of two classes."""
    counts = {"images": images, "classes": 2, "fewest_per_class": fewest, "most_per_class": images - fewest}
    return {"device": "cpu", "data": {"splits": {"train": counts}, "validation_images": 0, **more}}


def test_the_page_shows_what_the_stages_read(store: SyntheticStore) -> None:
    described = {"left_out_files": {".gif": 3, ".avif": 1}, "fingerprint_covers": "every byte of every file"}
    prepared = {"validation_images": 100, "prepared_unix_s": 1_700_000_000.0}
    provenance = _read(1_000, 400, **described, **prepared)
    for seed, size in enumerate((None, 224, 16)):  # of an earlier version, which wrote none; the default; a small one
        fields = {"setting": {"data": {"image_size": size} if size else {}}}
        store.stage("train", {"transfer": "dense", "seed": seed}, {}, science=fields, provenance=provenance)
    store.stage("train", {"transfer": "dense", "seed": 3}, {}, provenance={"device": "cpu"})  # of an earlier version
    text = page_text(store.root)
    cells = "digits train 1,000 (100 held out) 400 to 600 .gif 3, .avif 1 every byte of every file"
    assert f"{cells} 2023-11-14 22:13 2" in text
    at_16_cells = cells.replace("1,000", "1,000 of 16x16 pixels")
    assert f"{at_16_cells} 2023-11-14 22:13 1" in text
    assert "did not read the same data" not in text


def test_the_page_says_when_one_parts_stages_read_different_counts(store: SyntheticStore) -> None:
    for seed, (images, fewest) in enumerate(((10, 5), (10, 5), (12, 5)), start=1):
        results = {"test_accuracy_percent": 70.0}
        store.stage("train", {"transfer": "dense", "seed": seed}, results, provenance=_read(images, fewest))
    text = page_text(store.root)
    sentence = "train images: 10, 5 per class (2 stages); 12, 5 to 7 per class (1 stage)."
    assert f"These stages did not read the same data. {sentence}" in text
    assert "digits train 12 5 to 7 not counted" in text
