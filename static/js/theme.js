// Sets the theme before the first paint. Loaded in the head without defer: that is what prevents a flash.
(() => {
  "use strict";
  const KEY = "upgradeconsole.theme";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return localStorage.getItem(KEY) || "auto";
    } catch {
      return "auto"; // storage is blocked: follow the system
    }
  }

  function apply() {
    const theme = chosen() === "auto" ? (dark.matches ? "dark" : "light") : chosen();
    if (document.documentElement.dataset.bsTheme === theme) return;
    document.documentElement.dataset.bsTheme = theme;
    document.dispatchEvent(new CustomEvent("console:theme", { detail: theme }));
  }

  window.consoleTheme = {
    chosen,
    choose(theme) {
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        document.documentElement.dataset.bsTheme = theme; // for this page only
        return;
      }
      apply();
    },
  };
  dark.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  apply();
})();
