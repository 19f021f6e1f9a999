// Keeps the tenant table and the counts strip right without pulling the rug from under a reader.

const PAUSE_MS = 2000;

export class TenantTable {
  constructor(box, counts) {
    this.box = box;
    this.counts = counts;
    this.lastAt = 0;
    counts?.addEventListener("click", (event) => {
      const chip = event.target.closest("[data-count]");
      if (chip) this.filter(chip.dataset.count);
    });
  }

  count(states) {
    for (const chip of this.counts?.querySelectorAll("[data-count]") ?? []) {
      const n = chip.querySelector("[data-n]");
      n.textContent = String(states[chip.dataset.count] ?? 0);
    }
  }

  filter(state) {
    const select = this.box.querySelector('select[name="state"]');
    if (!select) return;
    select.value = select.value === state ? "" : state;
    this.load();
  }

  refresh() {
    if (this.waiting || this.box.contains(document.activeElement)) return;
    this.waiting = setTimeout(() => this.load(), Math.max(0, this.lastAt + PAUSE_MS - Date.now()));
  }

  load() {
    this.waiting = null;
    this.lastAt = Date.now();
    const form = this.box.querySelector("form");
    if (!form || !window.htmx) return;
    const asked = new URLSearchParams(new FormData(form));
    const page = this.box.querySelector(".pager [aria-current]")?.dataset.page;
    if (page) asked.set("page", page);
    window.htmx.ajax("GET", `${this.box.dataset.table}?${asked}`, { target: this.box, swap: "innerHTML" });
  }
}
