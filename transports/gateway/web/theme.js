// Runs before the page is painted, so that a chosen theme does not flash the other one first.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("eventwire.theme");
  } catch {
    // Storage can be forbidden: the system's preference then decides.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
