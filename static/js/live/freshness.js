// How live the page is: the age of the server's last word, and of the watch's last heartbeat.

const AMBER_S = 10;
const RED_S = 30;

export class Freshness {
  constructor(badge, offline) {
    this.badge = badge;
    this.text = badge.querySelector("[data-fresh-text]");
    this.offline = offline;
    this.heardAt = Date.now();
    this.watchAge = 0;
    this.polling = false;
    this.final = null;
    this.timer = setInterval(() => this.show(), 500);
  }

  heard(message) {
    this.heardAt = Date.now();
    this.watchAge = message.watch_age;
    this.ever = true;
    this.show();
  }

  stopped(word) {
    this.final = word;
    this.show();
    clearInterval(this.timer);
  }

  show() {
    const [tone, words] = this.verdict();
    this.badge.classList.remove("is-live", "is-old", "is-dead");
    if (tone) this.badge.classList.add(`is-${tone}`);
    // The live region speaks when the verdict changes, not each second.
    this.badge.setAttribute("aria-live", this.tone === tone ? "off" : "polite");
    this.tone = tone;
    if (this.text.textContent !== words) this.text.textContent = words;
    if (this.offline) this.offline.hidden = !(tone === "dead" && this.age() > RED_S);
  }

  age() {
    return (Date.now() - this.heardAt) / 1000;
  }

  verdict() {
    if (this.final) return [this.final === "final" ? "" : "dead", this.final === "final" ? "final" : `NOT LIVE: ${this.final}`];
    const age = this.age();
    if (age > RED_S) return ["dead", `NOT LIVE, ${Math.floor(age)} s old`];
    if (!this.ever) return age > AMBER_S ? ["old", "not connected"] : ["", "connecting"];
    if (this.watchAge === null) return ["dead", "watch is not running"];
    const silent = this.watchAge + age;
    if (silent > RED_S) return ["dead", `watch is silent, ${Math.floor(silent)} s`];
    if (age > AMBER_S) return ["old", `data ${Math.floor(age)} s old`];
    if (silent > AMBER_S) return ["old", `watch silent ${Math.floor(silent)} s`];
    const seconds = Math.max(1, Math.round(age));
    return ["live", this.polling ? `live ${seconds} s, polling` : `live ${seconds} s`];
  }
}
