// Draw figures when they come near the window, and again when filters, theme or width change.

const CONFIG = { displayModeBar: false, displaylogo: false, responsive: false, showTips: false };
const LEGEND_GAP = 14;

class Figure {
  #source = null;

  constructor(element) {
    this.element = element;
    this.plot = element.querySelector(".plot");
    this.table = element.querySelector(":scope > .scroll");
    this.title = element.querySelector("h2, h3, h4").firstChild.textContent.trim();
    this.drawn = false;
  }

  /** The figure's original traces and layout, unpacked at first use. */
  get source() {
    this.#source ??= unpacked(JSON.parse(this.element.querySelector("script.drawing").textContent));
    return this.#source;
  }

  /** The traces and points that match the filters. */
  get traces() { return kept(this.source.data, this.source.layout); }

  /** Return traces and layout for a width in pixels, with at least `left` for the y axis. */
  view(width, scheme, left) {
    const traces = this.traces;
    const layout = inked(arranged(this.source.layout, traces, width, left), palette(scheme));
    zoomed(layout, traces);
    thinned(layout);
    const room = width - layout.margin.l - layout.margin.r - 60;
    for (const trace of traces) if (trace.name) trace.name = wrapped(trace.name, room);
    layout.uirevision = "kept";
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // a finger scrolls the page
    return { data: traces, layout };
  }

  draw({ width = this.plot.clientWidth, scheme } = {}) {
    if (!width) return;
    const view = this.view(width, scheme);
    const empty = view.data.length === 0;
    this.plot.hidden = empty;
    this.element.querySelector(".nothing").hidden = !empty;
    this.drawn = true;
    this.width = width;
    if (empty) return;
    if (view.data.every((trace) => trace.type === "table")) { this.fill(view); return; }
    settle(this.plot, view, (left) => this.view(width, scheme, left));
    if (!this.listens) this.plot.on("plotly_click", (event) => showPoint(this, event.points[0]));
    this.listens = true;
    this.plot.style.minHeight = "";
    holdPlace();
  }

  /** Draw a table trace as an HTML table, which readers can search and copy. */
  fill({ data, layout }) {
    for (const name of ["role", "style"]) this.plot.removeAttribute(name);
    this.plot.classList.add("scroll");
    this.plot.tabIndex = 0;
    const { columns, rows } = rowsOf(data, layout);
    fillTable(this.plot, columns, rows, { opens: (row) => row.keys.length > 0, open: showDetails });
  }
}

/** Draw, measure the axes' labels and the legend, then draw again with room for them. */
function settle(plot, view, wider) {
  Plotly.react(plot, view.data, view.layout, CONFIG);
  if (plot._fullLayout._size.l > view.layout.margin.l + 4) {
    view = wider(plot._fullLayout._size.l); // text breaks anew in what is left
    Plotly.react(plot, view.data, view.layout, CONFIG);
  }
  const size = plot._fullLayout._size;
  const base = plot.getBoundingClientRect().top + size.t + size.h;
  const labels = [...plot.querySelectorAll('.xaxislayer-above text, .infolayer > [class^="g-x"] text')];
  const deep = Math.max(0, ...labels.map((label) => label.getBoundingClientRect().bottom - base));
  const legend = plot.querySelector(".legend")?.getBoundingClientRect().height || 0;
  const bars = barsBelow(view.layout);
  const bar = bars.length ? plot.querySelector(".colorbar")?.getBoundingClientRect().height || 0 : 0;
  const { margin, height } = view.layout;
  const tall = height - margin.t - margin.b;
  const below = deep + LEGEND_GAP;
  const bottom = Math.ceil(below + (bar ? bar + LEGEND_GAP : 0) + (legend ? legend + 4 : 0));
  Plotly.relayout(plot, {
    "margin.b": bottom,
    height: tall + margin.t + bottom,
    ...Object.fromEntries(bars.flatMap((name) => [[`${name}.colorbar.y`, -below / tall], [`${name}.colorbar.yanchor`, "top"]])),
    ...(legend ? { "legend.y": -(below + (bar ? bar + LEGEND_GAP : 0)) / tall, "legend.x": 0 } : {}),
  });
}

/** Return the colour axes with a bar below the panels. */
const barsBelow = (layout) => Object.keys(layout).filter((name) =>
  /^coloraxis\d*$/.test(name) && layout[name].colorbar?.orientation === "h" && layout[name].colorbar.y < 0);
