{ // in the head, before anything is painted
  const kept = (() => { try { return localStorage.getItem("winning-sign-theme"); } catch { return null; } })();
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
}
