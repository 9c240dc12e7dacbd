// Live page: poll the server for news, and replace the page when the server has a new version.

const EVERY_MS = 2000;
const EVENTS = 5;
const READING_LINE = 100; // pixels from the top: the reader is past all above
let told = null;

async function ask() {
  try {
    const state = JSON.parse((await fetched("state.json")) || "null");
    showCounts(state);
    showNews(state);
    const page = document.getElementById("page");
    if (!state?.version) return;
    page.dataset.version ||= state.version;
    const fresh = state.version !== page.dataset.version && (await fetched(location.pathname));
    if (fresh) renew(new DOMParser().parseFromString(fresh, "text/html"));
    showCounts(state);
  } finally {
    setTimeout(ask, EVERY_MS);
  }
}

/** Fetch an address; null without an answer. */
async function fetched(address) {
  try {
    const answer = await fetch(address, { cache: "no-store" });
    return answer.ok ? await answer.text() : null;
  } catch {
    return null;
  }
}

/** Write the counts of the state into the page's own, and the bar: there is one count of stages. */
function showCounts(state) {
  const counts = state?.progress || {};
  for (const [name, n] of Object.entries(counts)) {
    const place = document.querySelector(`#top [data-state="${CSS.escape(name)}"]`);
    if (!place) continue;
    if (place.textContent !== String(n)) place.textContent = n;
    const item = place.closest("li");
    if (!item.classList.contains("done")) item.hidden = n === 0;
  }
  const bar = document.getElementById("done");
  if (counts.planned !== undefined) bar.max = counts.planned || 1;
  if (counts.done !== undefined) bar.value = counts.done;
}

/** Show the time left and events; unchanged news are not written again, so that a screen reader stays silent. */
function showNews(state) {
  const news = JSON.stringify([state?.problem, state?.progress, state?.left, state?.events]);
  if (news === told) return;
  told = news;
  const place = document.getElementById("live");
  place.hidden = false;
  if (!state) {
    place.textContent = "The server does not answer; the page shows its last state.";
    return;
  }
  const events = (state.events || []).slice(-EVENTS).reverse();
  place.replaceChildren(
    ...(state.problem ? [make("p", {}, `${state.problem} The page shows its last state.`)] : []),
    ...(state.left ? [make("b", {}, state.left.text)] : []),
    make("ol", {}, ...events.map((event) => make("li", {}, [clock(event.time), event.event, event.name, event.error].filter(Boolean).join("  ")))),
  );
}

const clock = (time) => String(time).replace("T", " ").replace("Z", " UTC");

/** Replace the page; filters, theme, open parts, news, focus and scroll position stay. */
function renew(fresh) {
  const open = new Map([...document.querySelectorAll("details[id]")].map((details) => [details.id, details.open]));
  const tables = [...document.querySelectorAll("figure > .scroll:not([hidden])")].map((table) => table.id);
  const drawn = figures.filter((figure) => figure.drawn).map((figure) => [figure.element.id, figure.plot.clientHeight]);
  const focused = focusPath(document.activeElement);
  const read = [...document.querySelectorAll("main [id]:not(.plot *)")].filter((element) => element.checkVisibility() && height(element) < READING_LINE).pop();
  const [at, top] = read && scrollY > 0 ? [height(read), null] : [0, scrollY];
  for (const figure of figures) if (figure.drawn) Plotly.purge(figure.plot);
  fresh.getElementById("live").replaceWith(document.getElementById("live"));
  document.getElementById("page").replaceWith(document.adoptNode(fresh.getElementById("page")));
  document.querySelector("footer").replaceWith(document.adoptNode(fresh.querySelector("footer")));
  for (const [id, was] of open) { const details = document.getElementById(id); if (details) details.open = was; }
  for (const [id, pixels] of drawn) { const figure = document.getElementById(id); if (figure) figure.querySelector(".plot").style.minHeight = `${pixels}px`; }
  start();
  for (const [id] of drawn) figures.find((figure) => figure.element.id === id)?.draw();
  for (const id of tables) document.querySelector(`[aria-controls="${CSS.escape(id)}"]`)?.click();
  if (focused) document.querySelector(focused)?.focus({ preventScroll: true });
  const same = read && document.getElementById(read.id);
  scrollTo(0, top ?? (same ? scrollY + height(same) - at : scrollY));
}

const height = (element) => element.getBoundingClientRect().top;

/** Return a selector of the focused element: by its id, or a filter by name and value. */
function focusPath(element) {
  if (!element || element === document.body) return null;
  if (element.id) return `#${CSS.escape(element.id)}`;
  return element.form ? `[name="${CSS.escape(element.name)}"]${element.type === "checkbox" ? `[value="${CSS.escape(element.value)}"]` : ""}` : null;
}

ask();
