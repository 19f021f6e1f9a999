// The log of sentences: newest first, filtered by the server's own loudness of each event.

const KEPT = 400;
const SHOWS = {
  all: () => true,
  decisions: (event) => event.kind !== "tenants_moved",
  alarm: (event) => event.tone === "alarm",
  people: (event) => !event.actor.startsWith("the console"),
};

export class EventLog {
  constructor(box) {
    this.box = box;
    this.pattern = document.querySelector("[data-event-template]").content.firstElementChild;
    this.of = "all";
    for (const button of document.querySelectorAll("[data-log]")) {
      button.addEventListener("click", () => this.choose(button.dataset.log));
    }
  }

  choose(of) {
    this.of = of;
    for (const button of document.querySelectorAll("[data-log]")) {
      button.setAttribute("aria-pressed", String(button.dataset.log === of));
    }
    this.refetch();
  }

  async refetch() {
    let answer;
    try {
      answer = await fetch(`${this.box.dataset.url}?of=${this.of}`, { redirect: "manual", cache: "no-store" });
    } catch {
      return;
    }
    if (!answer.ok) return;
    this.box.innerHTML = await answer.text();
    window.htmx?.process(this.box);
    window.consoleUi.localise(this.box);
  }

  add(event) {
    if (!SHOWS[this.of](event)) return;
    const list = this.box.querySelector(".events");
    if (list.querySelector(`[data-seq="${event.seq}"]`)) return;
    list.querySelector(".event-none")?.remove();
    list.prepend(this.row(event));
    while (list.children.length > KEPT) list.lastElementChild.remove();
    window.consoleUi.localise(list.firstElementChild);
  }

  row(event) {
    const row = this.pattern.cloneNode(true);
    row.className = `event event-${event.tone} is-new`;
    row.dataset.seq = event.seq;
    const at = row.querySelector("time");
    at.dateTime = event.at;
    at.dataset.local = "";
    row.querySelector(".event-text").textContent = event.sentence;
    const link = row.querySelector(".event-link");
    link.textContent = `#${event.seq}`;
    link.id = `e${event.seq}`;
    link.href = `#e${event.seq}`;
    link.setAttribute("aria-label", `Link to event ${event.seq}`);
    return row;
  }
}
