// Give figures the page's colours and font, so that one figure serves light, dark and paper.

const FAMILY = getComputedStyle(document.body).fontFamily;

/** Return the page's colours in "light" or "dark"; by default the present ones. */
function palette(scheme) {
  const probe = make("span", { hidden: "" });
  document.body.append(probe);
  if (scheme) probe.style.colorScheme = scheme;
  const found = Object.fromEntries(["ink", "quiet", "rule", "card"].map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  }));
  probe.remove();
  return found;
}

/** Return a plotly template in these colours; a figure's own settings take precedence. */
function inked(layout, { ink, quiet, rule, card }) {
  const axis = { color: ink, gridcolor: rule, linecolor: quiet, tickcolor: quiet, zerolinecolor: rule };
  layout.font = { ...layout.font, family: FAMILY, color: ink };
  layout.hoverlabel = { ...layout.hoverlabel, bgcolor: card, bordercolor: quiet, font: { family: FAMILY, color: ink, size: 13 } };
  layout.template = {
    layout: { xaxis: axis, yaxis: axis, coloraxis: { colorbar: { outlinewidth: 0, tickcolor: quiet } } },
    data: {
      heatmap: [{ colorbar: { outlinewidth: 0, tickcolor: quiet } }],
      table: [{ header: { fill: { color: card }, line: { color: rule } }, cells: { fill: { color: card }, line: { color: rule } } }],
    },
  };
  return layout;
}

const isDark = () => document.documentElement.dataset.theme === "dark" ||
  (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);

function showTheme() {
  document.getElementById("theme").textContent = isDark() ? "Light" : "Dark"; // what a click brings
}

function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("winning-sign-theme", theme); } catch { /* a browser may forbid it: then it is forgotten */ }
  showTheme();
}
