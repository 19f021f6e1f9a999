// Passkeys and security keys: ask the browser for a key's answer and send it with the form.
// A form says which ceremony it is (data-passkey="create" or "get") and which JSON block holds the
// options of the server (data-options); the answer goes into its field named "credential".
(() => {
  "use strict";

  const bytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

  function known(credentials) {
    return (credentials ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
  }

  async function create(options) {
    const asked = options.creation_options.publicKey;
    return navigator.credentials.create({
      publicKey: {
        ...asked,
        challenge: bytes(asked.challenge),
        user: { ...asked.user, id: bytes(asked.user.id) },
        excludeCredentials: known(asked.excludeCredentials),
      },
    });
  }

  async function get(options) {
    const asked = options.request_options.publicKey;
    return navigator.credentials.get({
      publicKey: { ...asked, challenge: bytes(asked.challenge), allowCredentials: known(asked.allowCredentials) },
    });
  }

  function asJson(credential) {
    const response = { clientDataJSON: text(credential.response.clientDataJSON) };
    for (const part of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[part]) response[part] = text(credential.response[part]);
    }
    return JSON.stringify({
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      authenticatorAttachment: credential.authenticatorAttachment ?? null,
      clientExtensionResults: credential.getClientExtensionResults(),
      response,
    });
  }

  function why(error) {
    if (error.name === "NotAllowedError") return "Nothing was confirmed: it was cancelled or took too long. Try again.";
    if (error.name === "InvalidStateError") return "This key is enrolled for you already.";
    if (error.name === "SecurityError") return "Browsers allow passkeys only over https, or on localhost.";
    return `The key could not be used: ${error.message}`;
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const told = form.querySelector("[data-passkey-told]");
    const button = form.querySelector("[data-passkey-go]");
    if (!window.PublicKeyCredential) {
      button.disabled = true;
      told.textContent = "This browser cannot use passkeys here: it needs https, or localhost.";
      told.hidden = false;
      continue;
    }
    form.addEventListener("submit", async (event) => {
      const field = form.elements.namedItem("credential");
      event.preventDefault();
      told.hidden = true;
      button.disabled = true;
      try {
        const options = JSON.parse(document.getElementById(form.dataset.options).textContent);
        field.value = asJson(await (form.dataset.passkey === "create" ? create(options) : get(options)));
        form.submit();
      } catch (error) {
        button.disabled = false;
        told.textContent = why(error);
        told.hidden = false;
      }
    });
  }
})();
