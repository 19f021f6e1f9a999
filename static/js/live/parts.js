// Renders the changing parts of the page again from the server's own templates, at most once a second.

const PAUSE_MS = 1000;
const TOKEN = /name="csrfmiddlewaretoken" value="[^"]*"/g;

const summaryOf = (details) => details.querySelector("summary")?.textContent.trim();

// What a person has opened, typed and ticked in a part, to be given back to the fresh one.
function enteredIn(part) {
  return {
    scrolled: Array.from(part.querySelectorAll(".tall"), (list) => list.scrollTop),
    opened: new Set(Array.from(part.querySelectorAll("details[open]"), summaryOf)),
    fields: Array.from(part.querySelectorAll("input[id], select[id], textarea[id]")).filter(
      (field) => field.matches("select") || field.value !== field.defaultValue || field.checked !== field.defaultChecked,
    ),
  };
}

function giveBack(part, entered) {
  for (const details of part.querySelectorAll("details")) {
    if (entered.opened.has(summaryOf(details))) details.open = true;
  }
  part.querySelectorAll(".tall").forEach((list, index) => (list.scrollTop = entered.scrolled[index] ?? 0));
  for (const was of entered.fields) {
    const field = part.querySelector(`#${CSS.escape(was.id)}`);
    if (!field) continue;
    if (field.matches("[type=checkbox], [type=radio]")) field.checked = was.checked;
    else field.value = was.value;
  }
}

export class PartRefresher {
  constructor(page) {
    this.page = page;
    this.url = page.dataset.parts;
    this.state = page.dataset.state;
    this.lastAt = 0;
    this.onSwap = () => {};
    this.onState = () => {};
  }

  refresh() {
    if (this.waiting) return;
    const wait = Math.max(0, this.lastAt + PAUSE_MS - Date.now());
    this.waiting = setTimeout(() => this.load(), wait);
  }

  async load() {
    this.lastAt = Date.now();
    this.waiting = null;
    let answer;
    try {
      answer = await fetch(this.url, { redirect: "manual", cache: "no-store" });
    } catch {
      return; // the feed notices too and says how old the page is
    }
    if (!answer.ok) return;
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    const root = holder.content.firstElementChild;
    for (const fresh of root.querySelectorAll("template[data-for]")) this.swap(fresh);
    this.tellState(root.dataset.state);
  }

  swap(fresh) {
    const part = document.querySelector(`[data-part="${fresh.dataset.for}"]`);
    if (!part) return;
    const html = fresh.innerHTML;
    // Each answer masks the same token anew; that alone is no change.
    const shown = html.replace(TOKEN, "");
    if (part.dataset.shown === shown) return;
    // A button swapped between press and release would swallow the click.
    if (part.matches(":active")) {
      this.refresh();
      return;
    }
    // Whoever is typing into a part keeps it until they are done.
    if (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) return;
    const focused = part.contains(document.activeElement) ? document.activeElement.textContent.trim() : null;
    const entered = enteredIn(part);
    part.innerHTML = html;
    giveBack(part, entered);
    part.dataset.shown = shown;
    this.onSwap(part);
    if (focused === null) return;
    const same = Array.from(part.querySelectorAll("button:enabled, a, summary")).find((node) => node.textContent.trim() === focused);
    // What was pressed may be gone (Resume is, once it has worked): whoever goes on with the keyboard
    // stays in its place, and no button is aimed at that they did not choose.
    if (!same) part.tabIndex = -1;
    (same ?? part).focus({ preventScroll: true });
  }

  tellState(state) {
    if (!state || state === this.state) return;
    this.state = state;
    const badge = document.querySelector('[data-part="bar"] .state');
    this.onState(state, badge ? badge.textContent.trim() : state);
  }
}
