// Turn a figure's points into rows, for its table, its CSV download and a point's details.

const NOTES = {
  n: /^n = (.+)$/,
  "95 % interval": /^95 % interval (.+)$/,
  "test accuracy": /^test accuracy (.+)$/,
  "minus dense": /^− dense: (.+)$/,
  "minus own tickets": /^− own tickets: (.+)$/,
};

/** Return the hover text in a point's `customdata`, and the keys of its set of stages. */
function noted(custom) {
  const [text = "", density = null, set = -1] = Array.isArray(custom) ? custom : [];
  const lines = String(text).split(/<br\s*\/?>/).map(words);
  const said = {};
  for (const [name, pattern] of Object.entries(NOTES)) {
    const found = lines.map((line) => line.match(pattern)).find(Boolean);
    if (found) said[name] = found[1];
  }
  return { lines, density, said, keys: stages.keys(set) };
}

/** Return the rows of traces: `columns` in order, and for each row its `cells` and its details. */
function rowsOf(traces, layout) {
  const panels = panelsOf(layout, traces) || [];
  const rows = [];
  for (const trace of traces) {
    if (trace.meta?.band) continue;
    const panel = panels.find((each) => each.id === (trace.xaxis || "x"));
    const place = {
      panel: words(panel?.titles[0]?.text),
      x: words(layout[panel?.xName || "xaxis"]?.title?.text) || "x",
      everywhere: isDensity(layout[panel?.xName || "xaxis"]), // a point there without a density holds for all
      y: words(panel?.shared || layout[panel?.yName || "yaxis"]?.title?.text) || "y",
    };
    rows.push(...(trace.type === "table" ? tableRows(trace) : trace.z ? cellRows(trace, layout, place) : pointRows(trace, place)));
  }
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row.cells).filter((name) => row.cells[name] !== "")))];
  return { columns, rows };
}

function pointRows(trace, place) {
  const count = Math.max(trace.x?.length || 0, trace.y?.length || 0);
  return Array.from({ length: count }, (_, i) => {
    const note = noted(trace.customdata?.[i]);
    const cells = { panel: place.panel, series: words(trace.name) };
    if (note.density !== null) cells.density = note.density;
    if (trace.base) cells.start = trace.base[i] ?? trace.base;
    if (trace.x) cells[place.x] = place.everywhere && trace.customdata && note.density === null ? "" : trace.x[i];
    if (trace.y) cells[place.y] = trace.y[i];
    for (const [name, title] of [["error_x", place.x], ["error_y", place.y]]) {
      const { array, arrayminus } = trace[name] || {};
      if (array) cells[arrayminus ? `${title} above` : `± ${title}`] = array[i];
      if (arrayminus) cells[`${title} below`] = arrayminus[i];
    }
    return { ...note, cells: { ...cells, ...note.said }, title: cells.series };
  }).filter((row, i, all) => !i || JSON.stringify(row.cells) !== JSON.stringify(all[i - 1].cells));
}

function cellRows(trace, layout, place) {
  const value = words(trace.colorbar?.title?.text || layout[trace.coloraxis]?.colorbar?.title?.text || layout.coloraxis?.colorbar?.title?.text) || "value";
  return trace.z.flatMap((row, i) => row.map((z, j) => {
    const note = noted(trace.customdata?.[i]?.[j]);
    const cells = { panel: place.panel, series: words(trace.name), [place.y]: trace.y?.[i] ?? i, [place.x]: trace.x?.[j] ?? j, [value]: z };
    return { ...note, cells: { ...cells, ...note.said }, title: cells.series };
  })).filter((row) => row.cells[value] !== null && row.cells[value] !== undefined);
}

function tableRows(trace) {
  const heads = trace.header.values.map((head) => words([].concat(head).join(" ")));
  return (trace.cells.values[0] || []).map((_, i) => ({
    ...noted(trace.customdata?.[i]),
    cells: Object.fromEntries(heads.map((head, column) => [head, words(trace.cells.values[column][i])])),
    title: words(trace.cells.values[0][i]),
  }));
}

/** Write a cell for readers, with few digits. */
function shownCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
}

/** Write CSV by RFC 4180. */
function csv(columns, rows) {
  const field = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";
}
