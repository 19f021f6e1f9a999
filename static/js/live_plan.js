// The live page: joins the feed (socket or polling) with everything on the page that it moves.
import { Feed } from "./live/feed.js";
import { Freshness } from "./live/freshness.js";
import { runClocks, setServerTime, showClocks } from "./live/clocks.js";
import { PartRefresher } from "./live/parts.js";
import { EventLog } from "./live/event_log.js";
import { Answers } from "./live/answers.js";
import { TenantTable } from "./live/tenant_table.js";
import { Charts } from "./live/charts.js";
import { listenForActs } from "./live/acts.js";

const page = document.querySelector("[data-live]");
const MOVING = /^(tenants_|batches_skipped|batch_unskipped|plan_stopped_here)/;
const ENDED = new Set(["archived", "rejected", "cancelled"]);

const freshness = new Freshness(document.querySelector("[data-fresh]"), document.querySelector("[data-offline]"));
const parts = new PartRefresher(page);
const log = new EventLog(document.getElementById("event-log"));
const answers = new Answers(document.querySelector("[data-answers]"));
const table = new TenantTable(document.getElementById("tenant-table"), page.querySelector('[data-part="counts"]'));
const charts = new Charts(page.querySelector("[data-charts-box]"), page.dataset);
// Before the start the page holds the approvers' form, after it charts and answers: another page.
const planned = page.querySelector("[data-charts-box]") === null;
const announcer = page.querySelector("[data-announce]");

function typing() {
  return document.activeElement?.matches("input, textarea, select");
}

parts.onState = (state, label) => {
  announcer.textContent = `The plan is now: ${label}`;
  // Whoever has it in a tab behind others reads it there.
  document.title = document.title.replace(/: [^:]* · /, `: ${label.toLowerCase()} · `);
  if (planned) location.reload();
};

const feed = new Feed(page.dataset, {
  snapshot(message) {
    freshness.heard(message);
    setServerTime(message.server_time);
    parts.refresh();
    log.refetch();
    table.refresh();
  },
  event(message) {
    log.add(message);
    parts.refresh();
    if (MOVING.test(message.kind)) table.refresh();
    if (message.kind === "approval_given" && planned && !typing()) location.reload();
    charts.mark(message);
  },
  counts(message) {
    table.count(message.counts);
  },
  samples(message) {
    charts.add(message.kpi, message.points);
    // Verdicts move with the looks, not only with events.
    parts.refresh();
  },
  answers(message) {
    answers.add(message.answers);
  },
  tick(message) {
    freshness.heard(message);
    setServerTime(message.server_time);
  },
  gap() {
    charts.reload();
  },
  polling(on) {
    freshness.polling = on;
  },
  refused(code) {
    freshness.stopped(code === 4401 ? "logged out" : "no longer yours to see");
  },
});

listenForActs(page, {
  done: () => {
    parts.refresh();
    table.done();
  },
});
parts.onSwap = (part) => {
  window.consoleUi.localise(part);
  showClocks(part);
};
setServerTime(page.dataset.serverTime);
runClocks(document);
charts.start();
if (!ENDED.has(page.dataset.state)) feed.start();
else freshness.stopped("final");
