// Filters: a label without a choice matches every value. The address holds the choice, so that a link keeps it.

const LABELS = ["dataset", "architecture", "preset", "method"];
const ENDS = ["from", "to"];
const ROUNDED = 1.01; // densities are offered with three digits, and are a fifth apart
const filters = { at: "", from: "", to: "", ...Object.fromEntries(LABELS.map((label) => [label, []])) };

function readAddress() {
  const text = location.hash.slice(1);
  const found = new URLSearchParams(text.includes("=") ? text : { at: decodeURIComponent(text) });
  for (const label of LABELS) filters[label] = found.getAll(label);
  for (const name of ["at", ...ENDS]) filters[name] = found.get(name) || "";
}

function writeAddress({ visit = false } = {}) {
  const pairs = LABELS.flatMap((label) => filters[label].map((value) => [label, value]));
  pairs.push(...ENDS.filter((name) => filters[name]).map((name) => [name, filters[name]]));
  const only = filters.at && !pairs.length ? encodeURIComponent(filters.at) : "";
  if (filters.at) pairs.unshift(["at", filters.at]);
  const hash = only || String(new URLSearchParams(pairs));
  const address = hash ? `#${hash}` : location.pathname + location.search;
  history[visit ? "pushState" : "replaceState"](null, "", address);
}

const chosen = (label, value) => !value || !filters[label].length || filters[label].includes(value);

const within = (density) =>
  density === null || density === undefined || density === "" ||
  ((!filters.from || density <= filters.from * ROUNDED) && (!filters.to || density >= filters.to / ROUNDED));

const matches = (labels) => LABELS.every((label) => chosen(label, labels[label])) && within(labels.density);

const stageMatches = (row) =>
  matches(Object.fromEntries([...LABELS, "density"].map((label) => [label, stages.at(label, row)])));

function readForm(form) {
  const found = new FormData(form);
  for (const label of LABELS) filters[label] = found.getAll(label);
  for (const name of ENDS) filters[name] = found.get(name) || "";
}

function clearFilters() {
  for (const label of LABELS) filters[label] = [];
  for (const name of ENDS) filters[name] = "";
}

function fillForm(form) {
  for (const box of form.querySelectorAll("input[type=checkbox]")) box.checked = filters[box.name].includes(box.value);
  for (const select of form.querySelectorAll("select")) select.value = filters[select.name];
}

/** Hide rows and parts that do not match, and show the number of matching stages. */
function showMatching() {
  for (const part of document.querySelectorAll("[data-part], [data-row]")) part.hidden = !matches(part.dataset);
  const status = document.getElementById("matches");
  if (!status) return;
  let count = 0;
  for (let row = 0; row < stages.count; row++) count += stageMatches(row);
  status.textContent = `${count.toLocaleString("en")} of ${stages.count.toLocaleString("en")} stages match`;
}
