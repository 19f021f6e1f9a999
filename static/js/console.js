// What every page needs: menus, dialogs, theme buttons, local times, a guard against double posts.
(() => {
  "use strict";

  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));

  function showTheme() {
    const chosen = window.consoleTheme.chosen();
    for (const button of all("[data-theme-pick]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themePick === chosen));
    }
  }

  function openDialog(dialog, opener) {
    if (dialog.open) return;
    // The opener may have been rendered again meanwhile.
    const back = () => (opener?.isConnected ? opener : document.querySelector(`[data-opens="${dialog.id}"]`));
    dialog.addEventListener("close", () => back()?.focus(), { once: true });
    dialog.showModal();
    dialog.querySelector("[data-closes]")?.focus();
  }

  // Times come in UTC; show the reader's own, keep UTC in the tooltip.
  function localise(root) {
    for (const node of all("time[data-local]:not([title])", root)) {
      const at = new Date(node.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      node.title = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
      const today = at.toDateString() === new Date().toDateString();
      const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
      node.textContent = today ? clock : `${at.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" })}, ${clock.slice(0, 5)}`;
    }
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-theme-pick], [data-opens], [data-closes], .nav-toggle, [data-copies]");
    for (const menu of all("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
    if (!target) return;
    if (target.dataset.themePick) {
      window.consoleTheme.choose(target.dataset.themePick);
      showTheme();
    } else if (target.dataset.opens) {
      const dialog = document.getElementById(target.dataset.opens);
      if (dialog) openDialog(dialog, target);
    } else if ("closes" in target.dataset) {
      target.closest("dialog")?.close();
    } else if (target.dataset.copies) {
      navigator.clipboard?.writeText(target.dataset.copies).then(() => (target.textContent = "Copied"));
    } else if (target.classList.contains("nav-toggle")) {
      const open = document.getElementById("nav-main").classList.toggle("is-open");
      target.setAttribute("aria-expanded", String(open));
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of all("details[data-menu][open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const form = document.querySelector("dialog[open] form[data-confirms]");
      if (form) {
        event.preventDefault();
        form.requestSubmit();
      }
    }
  });

  // A second click while the first post is under way would only earn a refusal.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || form.dataset.repeatable !== undefined) return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => all("form[data-sent]").forEach((form) => delete form.dataset.sent));

  document.addEventListener("htmx:afterSwap", (event) => localise(event.target));
  document.addEventListener("console:theme", showTheme);
  document.addEventListener("DOMContentLoaded", () => {
    showTheme();
    localise(document);
  });
  window.consoleUi = { openDialog, localise };
})();
