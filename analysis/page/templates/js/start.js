// Set up the page; a live page calls `start` again after each replacement.

let stages, figures = [], watchers = [];

function start() {
  for (const watcher of watchers) watcher.disconnect();
  stages = readStages();
  figures = [...document.querySelectorAll("figure.figure")].map((element) => new Figure(element));
  const byPlot = new Map(figures.map((figure) => [figure.plot, figure]));
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting && !byPlot.get(target).drawn) byPlot.get(target).draw();
  }, { rootMargin: "500px" });
  const width = new ResizeObserver((entries) => requestAnimationFrame(() => {
    for (const { target } of entries) {
      const figure = byPlot.get(target);
      if (figure.drawn && target.clientWidth && target.clientWidth !== figure.width) figure.draw();
    }
  }));
  for (const plot of byPlot.keys()) { near.observe(plot); width.observe(plot); }
  for (const figure of figures) wire(figure);
  wireForm();
  document.getElementById("stages-fold")?.addEventListener("toggle", (event) => { if (event.target.open) showStages(); });
  document.getElementById("stages-csv")?.addEventListener("click", saveStages);
  readAddress();
  apply();
  watchers = [near, width, watchReading()];
}

function wire(figure) {
  const table = figure.element.querySelector("[data-table]");
  table.addEventListener("click", () => {
    const place = figure.table;
    place.hidden = !place.hidden;
    table.setAttribute("aria-expanded", String(!place.hidden));
    if (!place.hidden) showFigureTable(figure);
  });
  for (const button of figure.element.querySelectorAll("[data-save]")) {
    button.addEventListener("click", () => save(figure, button.dataset.save));
  }
}

function wireForm() {
  const form = document.getElementById("filters");
  if (!form) return;
  const changed = () => { readForm(form); writeAddress(); apply(); };
  form.addEventListener("change", changed);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => { event.preventDefault(); clearFilters(); writeAddress(); apply(); });
}

/** Apply the filters everywhere. */
function apply() {
  const form = document.getElementById("filters");
  if (form) fillForm(form);
  showMatching();
  for (const figure of figures) {
    if (figure.drawn) { figure.plot.hidden = false; figure.draw(); }
    if (!figure.table.hidden) showFigureTable(figure);
  }
  if (document.getElementById("stages-fold")?.open) showStages();
}

function redraw() {
  for (const figure of figures) if (figure.drawn) figure.draw();
}

document.getElementById("theme").addEventListener("click", () => { toggleTheme(); redraw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { showTheme(); redraw(); });
document.addEventListener("click", followLink);
document.addEventListener("click", (event) => { // a finger cannot point: a tap explains a term
  const term = event.target.closest("abbr[title]"), meaning = document.getElementById("meaning");
  if (!term) return;
  meaning.textContent = `${term.textContent}: ${term.title}`;
  meaning.showPopover();
});
addEventListener("popstate", () => { readAddress(); apply(); goTo(filters.at, { focus: false }); });
WIDE.addEventListener("change", foldContents);
const point = document.getElementById("point");
point.addEventListener("click", (event) => { if (event.target === point || event.target.closest("[data-close]")) point.close(); });

const PRINT_WIDTH = 670; // pixels between the margins of A4 (680) and of Letter (702), nearly
const MOST_PRINTED = 300; // stages
let closed = [];
addEventListener("beforeprint", () => {
  const printed = stages.count <= MOST_PRINTED;
  closed = [...document.querySelectorAll("details:not([open])")].filter(({ id }) => printed || id !== "stages-fold");
  for (const details of closed) details.open = true;
  if (stages.count && printed) showStages();
  for (const figure of figures) figure.draw({ width: PRINT_WIDTH, scheme: "light" });
});
addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
  redraw();
});

showTheme();
foldContents();
start();
if (filters.at) goTo(filters.at, { focus: false });
