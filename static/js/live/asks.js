// The question before an act: fetched with its numbers as they are now, shown in the page's one dialog.
// Without this script the same link leads to the same question as a page of its own.

export function listenForAsks(say) {
  const dialog = document.getElementById("act-dialog");
  const holder = dialog.querySelector("[data-act-question]");

  async function ask(url, opener) {
    let answer;
    try {
      answer = await fetch(url, { headers: { "X-Dialog": "1" }, redirect: "manual", cache: "no-store" });
    } catch {
      say("The console could not be reached. Try again.", true);
      return;
    }
    if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
      say((await answer.json()).sentence, true);
    } else if (answer.ok) {
      holder.innerHTML = await answer.text();
      window.consoleUi.openDialog(dialog, opener);
    } else {
      say("That did not work: the page may be out of date, or you are logged out. Reload it.", true);
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-asks]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    ask(link.href, link);
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("form[data-asks]")) return;
    event.preventDefault();
    const chosen = new URLSearchParams(new FormData(form));
    if (!chosen.has("tenant")) {
      say("Choose at least one tenant first.", true);
      return;
    }
    ask(`${event.submitter?.formAction ?? form.action}?${chosen}`, event.submitter);
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-choose-all]")) return;
    for (const box of event.target.closest("table").querySelectorAll('input[name="tenant"]')) box.checked = event.target.checked;
  });
}
