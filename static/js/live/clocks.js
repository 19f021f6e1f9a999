// Count-downs by the server's clock: a wrong clock on the reader's machine must not lie about time.

let aheadMs = 0;

export function setServerTime(text) {
  aheadMs = new Date(text).getTime() - Date.now();
}

export function clock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const hours = Math.floor(whole / 3600);
  const rest = `${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")}:${String(whole % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${rest}` : rest;
}

export function showClocks(root) {
  const now = Date.now() + aheadMs;
  for (const node of root.querySelectorAll("[data-until]")) {
    const left = (new Date(node.dataset.until).getTime() - now) / 1000;
    const late = left <= -1;
    node.classList.toggle("is-late", late);
    node.textContent = late ? `${node.dataset.late} ${clock(-left)}` : clock(left);
  }
  for (const node of root.querySelectorAll("[data-soak]")) {
    node.dataset.soakEnd ??= String(now + Number(node.dataset.soak) * 1000);
    node.textContent = clock((Number(node.dataset.soakEnd) - now) / 1000);
  }
  for (const node of root.querySelectorAll("[data-seconds]:not([data-told])")) {
    node.dataset.told = "1";
    node.textContent = clock(Number(node.dataset.seconds));
  }
}

export function runClocks(root) {
  showClocks(root);
  setInterval(() => showClocks(root), 250);
}
