// HTML tables, built when opened. A click or Enter on a row opens its stages; arrow keys move between rows.

const MOST_ROWS = 5000; // more take seconds to lay out, and nobody reads them

/** Fill `place` with a table; rows with `opens(row)` call `open(row)`. Of more than MOST_ROWS rows, the first are shown. */
function fillTable(place, columns, rows, { opens = () => false, open = () => {} } = {}) {
  const body = make("tbody");
  const fill = (sorted) => {
    let reachable = false;
    body.replaceChildren(...sorted.slice(0, MOST_ROWS).map((row) => {
      const line = make("tr", {}, ...columns.map((column) => cell(row.cells[column], row.links?.[column])));
      if (opens(row)) {
        line.tabIndex = reachable ? -1 : 0; // one tab stop per table; arrow keys reach the other rows
        reachable = true;
        line.addEventListener("click", (event) => { if (!event.target.closest("a")) open(row); });
        line.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" || event.target !== line) return;
          event.preventDefault(); // otherwise the key also presses the button that the dialog focuses
          open(row);
        });
      }
      return line;
    }));
  };
  body.addEventListener("keydown", walk);
  const heads = columns.map((column) => {
    const head = make("th", { scope: "col" }, make("button", { type: "button" }, column));
    head.firstChild.addEventListener("click", () => fill(sortBy(head, column, rows)));
    return head;
  });
  fill(rows);
  place.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body));
  if (rows.length > MOST_ROWS) {
    const [shown, all] = [MOST_ROWS, rows.length].map((count) => count.toLocaleString("en"));
    place.prepend(make("p", { class: "quiet thinned" }, `The first ${shown} of ${all} rows. Sort or filter to see others; the CSV has all.`));
  }
}

function cell(value, link) {
  const text = shownCell(value);
  const inside = link ? make("a", { href: link }, text) : text;
  return make("td", typeof value === "number" ? { class: "n" } : {}, inside);
}

function sortBy(head, column, rows) {
  const way = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", way);
  const blank = (value) => value === null || value === undefined || value === "";
  return [...rows].sort(({ cells: { [column]: a } }, { cells: { [column]: b } }) => {
    if (blank(a) || blank(b)) return blank(a) - blank(b);
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return way === "ascending" ? order : -order;
  });
}

function walk(event) {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const line = event.target.closest("tr[tabindex]");
  if (!step || !line) return;
  let next = line[step];
  while (next && !next.hasAttribute("tabindex")) next = next[step];
  if (!next) return;
  event.preventDefault();
  line.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function showFigureTable(figure) {
  const place = figure.table;
  const { columns, rows } = rowsOf(figure.traces, figure.source.layout);
  fillTable(place, columns, rows, { opens: (row) => row.keys.length > 0, open: showDetails });
}

/** Return the matching stages as rows, with a link to each record. */
function stageRows() {
  return Array.from({ length: stages.count }, (_, row) => row).filter(stageMatches).map((row) => ({
    cells: Object.fromEntries(stages.names.map((name) => [name, stages.at(name, row)])),
    links: { name: stages.record(row) },
    keys: [stages.at("key", row)],
    title: stages.at("name", row),
    lines: [],
  }));
}

const SHOWN_OF_STAGES = ["name", "kind", "density", "test_accuracy_percent", "barrier_points", "seconds", "device", "host", "git_commit", "superseded"];

function showStages() {
  const columns = SHOWN_OF_STAGES.filter((name) => stages.names.includes(name));
  fillTable(document.getElementById("stages-table"), columns, stageRows(), { opens: () => true, open: showDetails });
}
