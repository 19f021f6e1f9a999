// One plan's news: over the socket while it lives, by polling the snapshot while it does not.
// Every event has a gapless sequence number; a hole makes the feed ask for the whole picture.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10000;
const POLL_MS = 2000;
const SILENT_MS = 6000; // ticks come each second: this long without one and the socket is dead
const REFUSED = new Set([4401, 4403]);

export class Feed {
  constructor({ socket, snapshot, seq }, handlers) {
    this.socketUrl = new URL(socket, location.href);
    this.socketUrl.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.snapshotUrl = snapshot;
    this.seq = Number(seq);
    this.handlers = handlers;
    this.retryMs = FIRST_RETRY_MS;
    this.heardAt = 0;
    this.ended = false;
  }

  start() {
    this.connect();
    this.poller = setInterval(() => this.pollIfDeaf(), POLL_MS);
  }

  connect() {
    const url = new URL(this.socketUrl);
    url.searchParams.set("since", String(this.seq));
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.addEventListener("message", (frame) => {
      this.retryMs = FIRST_RETRY_MS;
      this.heardAt = Date.now();
      this.setPolling(false);
      for (const message of JSON.parse(frame.data)) this.take(message);
    });
    socket.addEventListener("close", (event) => {
      if (this.socket !== socket) return;
      this.socket = null;
      if (REFUSED.has(event.code)) {
        this.stop();
        this.handlers.refused(event.code);
        return;
      }
      // Spread out, so that a thousand pages do not come back in the same moment.
      setTimeout(() => this.ended || this.connect(), this.retryMs * (0.7 + 0.6 * Math.random()));
      this.retryMs = Math.min(LAST_RETRY_MS, this.retryMs * 2);
    });
  }

  stop() {
    this.ended = true;
    clearInterval(this.poller);
  }

  take(message) {
    if (message.type === "event") {
      if (message.seq <= this.seq) return; // told twice: at the join of past and present
      if (message.seq > this.seq + 1) {
        this.askForAll();
        return;
      }
      this.seq = message.seq;
    } else if (message.type === "snapshot") {
      this.seq = message.seq;
    } else if (message.type === "gap") {
      this.askForAll();
    }
    this.handlers[message.type]?.(message);
  }

  askForAll() {
    if (this.asked && Date.now() - this.asked < POLL_MS) return;
    this.asked = Date.now();
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type: "snapshot" }));
    else this.poll();
  }

  pollIfDeaf() {
    if (Date.now() - this.heardAt < SILENT_MS) return;
    if (this.socket?.readyState === WebSocket.OPEN && this.heardAt) this.socket.close();
    this.poll();
  }

  async poll() {
    this.setPolling(true);
    let answer;
    try {
      answer = await fetch(this.snapshotUrl, { headers: { Accept: "application/json" }, redirect: "manual", cache: "no-store" });
    } catch {
      return; // unreachable: the freshness badge tells how old the page is
    }
    if (answer.type === "opaqueredirect") {
      this.stop();
      this.handlers.refused(4401);
    } else if (answer.status === 404 || answer.status === 403) {
      this.stop();
      this.handlers.refused(4403);
    } else if (answer.ok) {
      const snapshot = await answer.json();
      const news = snapshot.seq !== this.seq || !this.polledOnce;
      this.polledOnce = true;
      this.seq = snapshot.seq;
      if (news) this.handlers.snapshot(snapshot);
      else this.handlers.tick(snapshot);
    }
  }

  setPolling(on) {
    if (this.isPolling === on) return;
    this.isPolling = on;
    this.handlers.polling(on);
  }
}
