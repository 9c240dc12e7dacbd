// Download figures as SVG, PNG and CSV. Print in dark ink, whatever the page's theme is.

const PAPER_WIDTH = 900;
const TITLE = 64; // pixels above a figure that stands alone

function onPaper(figure, left) {
  const { data, layout } = figure.view(PAPER_WIDTH, "light", left);
  const of = figure.element.dataset.of;
  const room = PAPER_WIDTH - 40;
  const subtitle = wrapped(of.replace(/&/g, "&amp;").replace(/</g, "&lt;"), room);
  layout.title = {
    text: `${wrapped(figure.title, room, 17)}<br><span style="font-size: 13px">${subtitle}</span>`,
    font: { size: 17 }, x: 0, xref: "container", xanchor: "left", y: 1, yref: "container", yanchor: "top", pad: { l: 20, t: 26 },
  };
  layout.margin.t += TITLE;
  layout.height += TITLE;
  layout.paper_bgcolor = "#ffffff";
  return { data, layout };
}

async function save(figure, format) {
  const filename = figure.element.dataset.file;
  if (format === "csv") {
    const { columns, rows } = rowsOf(figure.traces, figure.source.layout);
    const lines = rows.map((row) => [...columns.map((column) => row.cells[column]), row.keys.join(" ")]);
    saveText(`${filename}.csv`, csv([...columns, "stages"], lines));
    return;
  }
  const stage = make("div", { class: "unseen", "aria-hidden": "true" });
  document.body.append(stage);
  stage.style.width = `${PAPER_WIDTH}px`;
  settle(stage, onPaper(figure), (left) => onPaper(figure, left));
  try {
    await Plotly.downloadImage(stage, { format, filename, width: PAPER_WIDTH, height: stage._fullLayout.height, scale: format === "png" ? 2 : 1 });
  } finally {
    Plotly.purge(stage);
    stage.remove();
  }
}

function saveText(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function saveStages() {
  saveText("stages.csv", csv(stages.names, stageRows().map((row) => stages.names.map((name) => row.cells[name]))));
}
