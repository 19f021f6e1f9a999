// Send a form that waited for a step-up: its sender has pressed its button before.
(() => {
  "use strict";
  document.querySelector("form[data-resume]")?.requestSubmit();
})();
