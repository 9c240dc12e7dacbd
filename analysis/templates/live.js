// While a sweep runs: the server says what is new, and the page is fetched again when it has changed.

const EVERY_MS = 2000;
const EVENTS = 5;
let version = null;

async function ask() {
  try {
    const answer = await fetch("state.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const state = await answer.json();
    showNews(state);
    if (version !== null && state.version !== version) await renew();
    version = state.version;
  } catch {
    showNews(null);
  }
  setTimeout(ask, EVERY_MS);
}

function showNews(state) {
  const place = document.getElementById("live");
  place.hidden = false;
  if (!state) {
    place.textContent = "The server does not answer; this is what was known last.";
    return;
  }
  const progress = Object.entries(state.progress || {}).map(([name, n]) => `${n} ${name}`).join(" · ");
  const events = (state.events || []).slice(-EVENTS).reverse();
  place.replaceChildren(
    make("b", {}, `Live: ${progress}`),
    make("ol", {}, ...events.map((event) => make("li", {}, [event.time, event.event, event.name].filter(Boolean).join("  ")))),
  );
}

/** Puts the new page in the place of the old one; filters, theme, what is open, focus and scroll stay. */
async function renew() {
  const answer = await fetch(location.pathname, { cache: "no-store" });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const open = new Map([...document.querySelectorAll("details[id]")].map((details) => [details.id, details.open]));
  const tables = [...document.querySelectorAll("figure > .scroll:not([hidden])")].map((table) => table.id);
  const drawn = figures.filter((figure) => figure.drawn).map((figure) => [figure.element.id, figure.plot.clientHeight]);
  const focused = document.activeElement?.id;
  const top = scrollY;
  for (const figure of figures) if (figure.drawn) Plotly.purge(figure.plot);
  document.getElementById("page").replaceWith(document.adoptNode(fresh.getElementById("page")));
  for (const [id, was] of open) { const details = document.getElementById(id); if (details) details.open = was; }
  for (const [id, height] of drawn) { const figure = document.getElementById(id); if (figure) figure.querySelector(".plot").style.minHeight = `${height}px`; }
  start();
  for (const [id] of drawn) figures.find((figure) => figure.element.id === id)?.draw();
  for (const id of tables) document.querySelector(`[aria-controls="${CSS.escape(id)}"]`)?.click();
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  scrollTo(0, top);
}

ask();
