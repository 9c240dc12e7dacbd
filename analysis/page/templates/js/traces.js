// Keep the traces and points that match the filters; the originals never change.

const PER_POINT = ["x", "y", "text", "hovertext", "customdata", "ids", "base", "width"];
const NESTED = { error_x: ["array", "arrayminus"], error_y: ["array", "arrayminus"], marker: ["color", "size", "symbol", "opacity"] };
const GRIDS = ["z", "text", "customdata"];

const isGrid = (trace) => Array.isArray(trace.customdata?.[0]?.[0]);
const hasPoints = (trace) => Array.isArray(trace.customdata?.[0]) && !isGrid(trace);

/** Return shallow copies of the matching traces, with their matching points. */
function kept(traces, layout) {
  const shown = traces.map((trace, i) => ({ ...keptTrace(trace, layout), uid: `trace${i}` })).filter((trace) => trace.visible !== false);
  const named = new Set();
  for (const trace of shown) { // the first remaining trace of a series names it in the legend
    const group = trace.legendgroup;
    if (!group || trace.meta?.band) continue;
    if (traces.some((other) => other.legendgroup === group && other.showlegend)) trace.showlegend = !named.has(group);
    named.add(group);
  }
  return shown;
}

function keptTrace(trace, layout) {
  const meta = trace.meta || {};
  if (!matches(meta)) return { ...trace, visible: false };
  if (!filters.from && !filters.to) return { ...trace };
  if (isGrid(trace)) return keptCells(trace);
  if (hasPoints(trace)) return subset(trace, trace.customdata.map((point) => within(point[1])));
  const axis = layout[(trace.xaxis || "x").replace("x", "xaxis")];
  if (meta.band && meta.method && isDensity(axis)) return subset(trace, trace.x.map(within));
  return { ...trace };
}

const isDensity = (axis) => axis?.type === "log" && axis.title?.text === "density";

function subset(trace, keep) {
  const some = (values) => (Array.isArray(values) && values.length === keep.length ? values.filter((_, i) => keep[i]) : values);
  const copy = { ...trace };
  for (const name of PER_POINT) if (name in copy) copy[name] = some(copy[name]);
  for (const [name, parts] of Object.entries(NESTED)) {
    if (copy[name]) copy[name] = { ...copy[name], ...Object.fromEntries(parts.filter((part) => part in copy[name]).map((part) => [part, some(copy[name][part])])) };
  }
  if (copy.cells) copy.cells = { ...copy.cells, values: copy.cells.values.map(some) };
  if (!keep.includes(true)) copy.visible = false;
  return copy;
}

function keptCells(trace) {
  const keep = trace.customdata.map((row) => row.map((cell) => within(cell?.[1])));
  const copy = { ...trace };
  for (const name of GRIDS) {
    if (Array.isArray(copy[name])) copy[name] = copy[name].map((row, i) => row.map((cell, j) => (keep[i][j] ? cell : null)));
  }
  if (!keep.some((row) => row.includes(true))) copy.visible = false;
  return copy;
}

/** Fit density axes to the remaining densities. */
function zoomed(layout, traces) {
  if (!filters.from && !filters.to) return;
  for (const [name, axis] of Object.entries(layout)) {
    if (!name.startsWith("xaxis") || !isDensity(axis)) continue;
    const id = name.replace("axis", "");
    const seen = traces.filter((trace) => (trace.xaxis || "x") === id && hasPoints(trace))
      .flatMap((trace) => trace.customdata.map((point) => point[1])).filter((density) => density > 0);
    if (seen.length) axis.range = [Math.log10(Math.max(...seen) * 1.12), Math.log10(Math.min(...seen) / 1.12)];
  }
}
