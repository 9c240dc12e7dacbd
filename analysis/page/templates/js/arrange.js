// Arrange panels in as many columns as fit, without panels that the filters emptied.

const NARROWEST = 235; // pixels of a panel
const BETWEEN = 66; // columns that each have a y axis
const BESIDE = 26; // columns with one y axis
const BELOW = 70; // a panel's ticks and the title of its x axis
const LINE = 17;
const UNBOUNDED = 1e5; // pixels
const BARE = 12; // pixels above panels that have no titles

/** Return a layout's panels in reading order; null if axes overlay each other or traces have no axes. */
function panelsOf(layout, traces) {
  if (traces.some((trace) => trace.domain || trace.type === "table" || trace.type === "pie")) return null;
  const names = Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));
  if (names.some((name) => layout[name].overlaying)) return null;
  const panels = names.filter((name) => name.startsWith("x")).map((name) => {
    const x = layout[name], id = name.replace("axis", ""), y = (x.anchor || id.replace("x", "y"));
    const yName = y.replace("y", "yaxis");
    if (!layout[yName]) return null;
    const [left, right] = x.domain || [0, 1], [bottom, top] = layout[yName].domain || [0, 1];
    const titles = (layout.annotations || []).filter((note) => note.xref === "paper" && note.yref === "paper" &&
      Math.abs(note.x - (left + right) / 2) < 1e-3 && Math.abs(note.y - top) < 1e-3);
    const shared = layout[(layout[yName].matches || y).replace("y", "yaxis")]?.title?.text || "";
    return { id, y, xName: name, yName, left, right, bottom, top, titles, shared };
  });
  if (!panels.length || panels.includes(null) || new Set(panels.map((panel) => panel.y)).size < panels.length) return null;
  return panels.sort((a, b) => b.top - a.top || a.left - b.left);
}

/** Return a figure's layout for a width in pixels, with at least `left` for the y axis; `traces` come from `kept`. */
function arranged(source, traces, width, left = 0) {
  const layout = structuredClone(source);
  const margin = { l: 80, r: 80, t: 100, b: 80, ...layout.margin };
  margin.l = Math.max(margin.l, left);
  const room = width - margin.l - margin.r;
  let height = (layout.height || 450) - margin.t - margin.b;
  if (!layout.title?.text && !(layout.annotations || []).length) margin.t = BARE;
  const panels = panelsOf(layout, traces);
  if (panels) {
    const shown = panels.filter((panel) => traces.some((trace) => (trace.xaxis || "x") === panel.id));
    height = grid(layout, panels, shown, room, height, margin);
  }
  for (const name of Object.keys(layout).filter((name) => /^yaxis\d*$/.test(name))) {
    const [bottom, top] = layout[name].domain || [0, 1];
    if (layout[name].title?.text) layout[name].title.text = wrapped(layout[name].title.text, (top - bottom) * height);
  }
  for (const name of Object.keys(layout).filter((name) => /^xaxis\d*$/.test(name))) {
    const [left, right] = layout[name].domain || [0, 1];
    if (layout[name].title?.text) layout[name].title.text = wrapped(layout[name].title.text, (right - left) * room);
  }
  layout.legend = { ...layout.legend, maxheight: UNBOUNDED }; // else plotly lets a legend of many series scroll
  layout.margin = margin;
  layout.width = width;
  layout.height = height + margin.t + margin.b;
  return layout;
}

/** Put the shown panels in rows and drop the others; return the height of the plot area in pixels. */
function grid(layout, panels, shown, room, height, margin) {
  const columns = Math.max(...panels.map((panel) => panels.filter((other) => Math.abs(other.top - panel.top) < 1e-6).length));
  const fitting = Math.max(1, Math.min(columns, Math.floor((room + BESIDE) / (NARROWEST + BESIDE))));
  drop(layout, panels.filter((panel) => !shown.includes(panel)));
  share(layout, shown);
  const across = Math.min(fitting, shown.length) || 1;
  const rows = [];
  for (let i = 0; i < shown.length; i += across) rows.push(shown.slice(i, i + across));
  const apart = rows.every((row) => row.every((panel) => root(layout, panel) === root(layout, row[0]))) ? BESIDE : BETWEEN;
  const wide = (room - apart * (across - 1)) / across;
  const full = shown.length === panels.length && fitting === columns;
  if (full && shown.every((panel) => panel.titles.every((note) => textWidth(note.text, 13) <= (panel.right - panel.left) * room))) return height;
  if (!shown.length) return height;
  for (const panel of shown) for (const note of panel.titles) note.text = wrapped(note.text, wide);
  const titles = rows.map((row) => LINE * Math.max(0, ...row.flatMap((panel) => panel.titles.map((note) => lineCount(note.text)))));
  const tall = rows.map((row) => Math.max(...row.map((panel) => (panel.top - panel.bottom) * height)));
  margin.t = Math.max(margin.t, titles[0] + 14);
  const total = tall.reduce((sum, each, r) => sum + each + (r ? BELOW + titles[r] + 8 : 0), 0);
  let from = 0;
  rows.forEach((row, r) => {
    from += r ? BELOW + titles[r] + 8 : 0;
    row.forEach((panel, c) => place(layout, panel, row[0], [c * (wide + apart) / room, (c * (wide + apart) + wide) / room], [1 - (from + tall[r]) / total, 1 - from / total]));
    from += tall[r];
  });
  return total;
}

function place(layout, panel, first, [left, right], [bottom, top]) {
  const x = layout[panel.xName], y = layout[panel.yName];
  x.domain = [Math.max(0, left), Math.min(1, right)];
  y.domain = [Math.max(0, bottom), Math.min(1, top)];
  const labelled = panel === first || root(layout, panel) !== root(layout, first);
  if (labelled && y.showticklabels === false) {
    y.showticklabels = true;
    y.title = { ...y.title, text: y.title?.text || panel.shared };
  }
  for (const note of panel.titles) Object.assign(note, { x: (left + right) / 2, y: top });
}

const root = (layout, panel) => layout[panel.yName].matches || panel.y;

/** Let panels with a shared y axis follow the first shown panel. */
function share(layout, shown) {
  const first = new Map();
  for (const panel of shown) {
    const y = layout[panel.yName], of = root(layout, panel);
    if (!first.has(of)) first.set(of, panel.y);
    if (first.get(of) === panel.y) delete y.matches;
    else y.matches = first.get(of);
  }
}

function drop(layout, panels) {
  const gone = new Set(panels.flatMap((panel) => panel.titles));
  const axes = new Set(panels.flatMap((panel) => [panel.id, panel.y]));
  const of = (thing) => axes.has(thing.xref) || axes.has(thing.yref);
  layout.annotations = (layout.annotations || []).filter((note) => !gone.has(note) && !of(note));
  layout.shapes = (layout.shapes || []).filter((shape) => !of(shape));
  for (const panel of panels) { delete layout[panel.xName]; delete layout[panel.yName]; }
}

/** Blank tick labels of density axes that would touch the previous one, from the sparsest on; the ticks stay. */
function thinned(layout) {
  for (const axis of Object.values(layout)) {
    if (!isDensity(axis) || !axis.ticktext) continue;
    const [left, right] = axis.domain || [0, 1], [from, to] = axis.range;
    const pixels = (layout.width - layout.margin.l - layout.margin.r) * (right - left) / Math.abs(to - from);
    let free = Infinity; // pixels from the dense end
    const named = new Set();
    const ticks = axis.tickvals.map((value, i) => [(from - Math.log10(value)) * pixels, i]).sort(([a], [b]) => b - a);
    for (const [at, i] of ticks) {
      const half = textWidth(axis.ticktext[i], 13) / 2 + 4;
      if (at + half > free) continue;
      free = at - half;
      named.add(i);
    }
    axis.tickangle = 0;
    axis.ticktext = axis.ticktext.map((text, i) => (named.has(i) ? text : ""));
  }
}
