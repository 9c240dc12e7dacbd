for (const source of document.querySelectorAll("script.drawing")) {
  const figure = JSON.parse(source.textContent);
  const plot = source.previousElementSibling;
  Plotly.newPlot(plot, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
}
