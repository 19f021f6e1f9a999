// Keeps the tenant table and the counts strip right without pulling the rug from under a reader.

const PAUSE_MS = 2000;

export class TenantTable {
  constructor(box, counts) {
    this.form = box.querySelector("form");
    this.rows = box.querySelector("#tenant-rows");
    this.url = box.dataset.table;
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
    const select = this.form.elements.state;
    if (!select) return;
    select.value = select.value === state ? "" : state;
    this.load(1);
  }

  refresh() {
    // Whoever has chosen tenants, or reads with the keyboard, keeps the rows in view.
    if (this.waiting || this.rows.contains(document.activeElement) || this.rows.querySelector("input:checked")) return;
    this.waiting = setTimeout(() => this.load(this.page()), Math.max(0, this.lastAt + PAUSE_MS - Date.now()));
  }

  done() {
    // An act was carried out: what was chosen for it is chosen no more.
    for (const box of this.rows.querySelectorAll("input:checked")) box.checked = false;
    this.refresh();
  }

  page() {
    return this.rows.querySelector("[data-page]")?.dataset.page ?? "1";
  }

  load(page) {
    this.waiting = null;
    this.lastAt = Date.now();
    if (!window.htmx) return;
    const asked = new URLSearchParams(new FormData(this.form));
    asked.set("page", page);
    window.htmx.ajax("GET", `${this.url}?${asked}`, { target: this.rows, swap: "innerHTML" });
  }
}
