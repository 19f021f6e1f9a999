// The stream of the deployers' answers, newest first. The texts come masked from the server.

const KEPT = 200;

export class Answers {
  constructor(list) {
    this.list = list;
    this.pattern = document.querySelector("[data-answer-template]").content.firstElementChild;
  }

  add(answers) {
    if (!this.list) return;
    // Told twice at the join of past and present.
    const fresh = answers.filter(({ id }) => !this.list.querySelector(`[data-call="${id}"]`));
    const rows = fresh.map((answer) => this.row(answer)).reverse();
    this.list.prepend(...rows);
    while (this.list.children.length > KEPT) this.list.lastElementChild.remove();
    window.consoleUi.localise(this.list);
  }

  row(answer) {
    const row = this.pattern.cloneNode(true);
    row.dataset.call = answer.id;
    row.className = `answer answer-${answer.outcome || "none"}`;
    const at = row.querySelector("time");
    at.dateTime = answer.at;
    at.dataset.local = "";
    row.querySelector(".answer-tenant").textContent = answer.tenant;
    row.querySelector(".answer-what").textContent = answer.attempt > 1 ? `${answer.direction} #${answer.attempt}` : answer.direction;
    row.querySelector(".answer-outcome").textContent = answer.status ? `${answer.outcome} ${answer.status}` : answer.outcome;
    row.querySelector(".answer-text").textContent = answer.text;
    return row;
  }
}
