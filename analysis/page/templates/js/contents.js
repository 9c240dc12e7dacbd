// Mark the reader's place in the contents; keep the filters in the address when the reader follows a link.

const WIDE = matchMedia("(min-width: 68rem)");

function foldContents() {
  for (const fold of document.querySelectorAll(".fold")) fold.open = WIDE.matches;
}

let held = null; // figures above a place that was gone to take their heights when they are drawn: it stays in view

function holdPlace() {
  held?.scrollIntoView();
}

for (const event of ["wheel", "touchstart", "pointerdown", "keydown"]) addEventListener(event, () => { held = null; }, { passive: true });

function goTo(id, { focus = true } = {}) {
  const target = id && document.getElementById(id);
  if (!target) return;
  target.closest("details")?.setAttribute("open", "");
  held = target;
  holdPlace();
  if (focus) {
    if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
    target.focus({ preventScroll: true });
  }
}

function followLink(event) {
  const link = event.target.closest('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  filters.at = decodeURIComponent(link.getAttribute("href").slice(1));
  writeAddress({ visit: true });
  if (!WIDE.matches && link.closest("#contents")) document.getElementById("contents-list").open = false;
  goTo(filters.at);
}

function watchReading() {
  const links = new Map([...document.querySelectorAll("#contents a")].map((link) => [decodeURIComponent(link.getAttribute("href").slice(1)), link]));
  const inView = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) inView[isIntersecting ? "add" : "delete"](target.id);
    const now = [...links.keys()].filter((id) => inView.has(id)).pop();
    if (!now) return;
    for (const [id, link] of links) id === now ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
  return watcher;
}
