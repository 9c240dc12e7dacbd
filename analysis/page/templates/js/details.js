// Show the stages behind a point.

const FACTS = {
  "test accuracy (%)": "test_accuracy_percent", "barrier (points)": "barrier_points", density: "density", method: "method",
  chain: "chain", round: "round", seed: "seed", preset: "preset", seconds: "seconds", device: "device", host: "host",
  commit: "git_commit", finished: "finished",
};

function showPoint(figure, point) {
  if (!point) return;
  const grid = Array.isArray(point.pointIndex);
  const custom = point.customdata ?? (grid ? point.data.customdata?.[point.pointIndex[0]]?.[point.pointIndex[1]] : undefined);
  const note = noted(custom);
  if (note.keys.length) showDetails({ ...note, title: words(point.data.name) || figure.title });
}

function showDetails({ title, lines, keys }) {
  document.getElementById("point-title").textContent = title;
  const body = document.getElementById("point-body");
  body.replaceChildren(
    ...lines.filter(Boolean).map((line) => make("p", { class: "quiet" }, line)),
    ...keys.map((key) => stageDetails(key, stages.row(key))),
  );
  const dialog = document.getElementById("point");
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function stageDetails(key, row) {
  if (row < 0) return make("p", {}, `Stage ${key} is not in this store.`);
  const facts = Object.entries(FACTS).filter(([, column]) => shownCell(stages.at(column, row)) !== "");
  const links = [["record.json", stages.record(row)], ...stages.files(row).map(({ file, address }) => [file, address])];
  return make("article", { class: "stage" },
    make("h3", {}, stages.at("name", row)),
    make("dl", {}, ...facts.map(([name, column]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, factCell(column, stages.at(column, row)))))),
    make("p", {}, ...links.flatMap(([file, address], i) => [i ? " · " : "", make("a", { href: address }, file)])),
    make("p", { class: "quiet" }, `stage ${key}${stages.at("superseded", row) ? ", superseded" : ""}`));
}

const factCell = (column, value) => (column === "git_commit" ? String(value).slice(0, 10) : shownCell(value));
