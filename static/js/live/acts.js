// Pause, resume, promote, settle, roll back: posted without leaving the page; and the page's keys.
import { listenForAsks } from "./asks.js";

const KEYS_OFF = "upgradeconsole.keys-off";
const SWAP_GUARD_MS = 1200; // a double click on Pause must not also hit what takes its place

function keysOff() {
  try {
    return localStorage.getItem(KEYS_OFF) === "1";
  } catch {
    return false;
  }
}

export function listenForActs(page, { done }) {
  const toast = page.querySelector("[data-toast]");
  let lastActAt = 0;

  function say(sentence, refused) {
    toast.textContent = sentence;
    toast.classList.toggle("is-refused", refused);
    clearTimeout(say.timer);
    if (!refused) say.timer = setTimeout(() => (toast.textContent = ""), 6000);
  }

  toast.addEventListener("click", () => (toast.textContent = ""));

  async function post(form) {
    const body = new FormData(form);
    form.closest("dialog")?.close();
    let answer;
    try {
      answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" }, redirect: "manual" });
    } catch {
      say("The console could not be reached: nothing was done. Try again.", true);
      return;
    }
    if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
      const { sentence, refused, go_to: goTo } = await answer.json();
      say(sentence, refused);
      // The act needs the second factor once more; its page comes back here.
      if (goTo) window.location.assign(goTo);
    } else {
      say("That did not work: the page may be out of date, or you are logged out. Reload it.", true);
    }
    done();
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const ours = form.matches("[data-act]") || form.matches("#rollback-dialog form, #act-dialog form");
    if (!ours) return;
    event.preventDefault();
    delete form.dataset.sent;
    if (Date.now() - lastActAt < SWAP_GUARD_MS) return;
    lastActAt = Date.now();
    post(form);
  });

  listenForAsks(say);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keysOff()) return;
    if (event.target.closest("input, textarea, select, dialog[open]")) return;
    if (event.key === "p") page.querySelector('[data-key="p"]')?.requestSubmit();
    else if (event.key === "R") page.querySelector('[data-key="R"]')?.click();
    else if (event.key === "/") document.getElementById("tenant-search")?.focus();
    else if (event.key === "l") document.getElementById("event-log")?.focus();
    else if (event.key === "Escape" && toast.textContent) toast.textContent = "";
    else if (event.key === "?") window.consoleUi.openDialog(document.getElementById("keys-dialog"), document.activeElement);
    else return;
    event.preventDefault();
  });

  const box = document.querySelector("[data-keys-on]");
  box.checked = !keysOff();
  box.addEventListener("change", () => {
    try {
      localStorage.setItem(KEYS_OFF, box.checked ? "0" : "1");
    } catch {
      say("This browser keeps no settings; the keys stay on.", true);
    }
  });
}
