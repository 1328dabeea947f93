// Passkeys (WebAuthn Level 3). A form with data-passkey is sent as a form, once
// the device has answered: begin gives {flow, options}, the form carries flow and
// response. What went wrong is said in the page.
(() => {
  "use strict";

  const forms = [...document.querySelectorAll("form[data-passkey]")];
  if (!window.PublicKeyCredential || !navigator.credentials) {
    for (const e of document.querySelectorAll("[data-no-passkeys]")) e.hidden = false;
    return;
  }
  for (const e of document.querySelectorAll("[data-needs-passkey]")) e.hidden = false;

  const bytes = (text) =>
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => {
    let s = "";
    for (const b of new Uint8Array(buffer)) s += String.fromCharCode(b);
    return btoa(s).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  };
  const listed = (list) => (list ?? []).map((c) => ({ ...c, id: bytes(c.id) }));

  // The options as the browser wants them; the newer browsers read JSON themselves.
  const creation = (o) =>
    PublicKeyCredential.parseCreationOptionsFromJSON?.(o) ?? {
      ...o,
      challenge: bytes(o.challenge),
      user: { ...o.user, id: bytes(o.user.id) },
      excludeCredentials: listed(o.excludeCredentials),
    };
  const request = (o) =>
    PublicKeyCredential.parseRequestOptionsFromJSON?.(o) ?? {
      ...o,
      challenge: bytes(o.challenge),
      allowCredentials: listed(o.allowCredentials),
    };

  // The device's answer as the server wants it. Password programs that stand in
  // for the browser do not always have toJSON.
  const written = (c) => {
    try {
      return c.toJSON();
    } catch {
      const response = { clientDataJSON: text(c.response.clientDataJSON) };
      for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
        if (c.response[name]) response[name] = text(c.response[name]);
      }
      const transports = c.response.getTransports?.();
      if (transports) response.transports = transports;
      return {
        id: c.id,
        rawId: text(c.rawId),
        type: c.type,
        authenticatorAttachment: c.authenticatorAttachment ?? undefined,
        response,
        clientExtensionResults: c.getClientExtensionResults(),
      };
    }
  };

  const hiddenInput = (form, name) => {
    let input = form.elements.namedItem(name);
    if (!input) {
      input = document.createElement("input");
      input.type = "hidden";
      input.name = name;
      form.append(input);
    }
    return input;
  };

  // The flow that the page came with; a login's begins with the passkey itself.
  const flows = new Map(forms.map((form) => [form, form.elements.namedItem("flow")?.value]));

  const begin = async (form, signal) => {
    const flow = flows.get(form);
    const answer = await fetch(form.dataset.begin, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: JSON.stringify(flow ? { flow } : {}),
      signal,
    });
    if (answer.status === 401 || answer.status === 410) throw new DOMException("", "EndedError");
    if (!answer.ok) throw new DOMException("", "ServerError");
    const { flow: next, options } = await answer.json();
    return { flow: next ?? flow, options: options.publicKey ?? options };
  };

  const send = (form, flow, credential) => {
    if (flow) hiddenInput(form, "flow").value = flow;
    hiddenInput(form, "response").value = JSON.stringify(written(credential));
    const remember = form.elements.namedItem("remember");
    if (remember) remember.disabled = !document.getElementById("remember")?.checked;
    form.submit();
  };

  const say = (form, word) => {
    const alert = form.querySelector("[data-alert]");
    if (!alert) return;
    alert.querySelector("p").textContent = form.dataset[word] ?? "";
    alert.hidden = !word;
  };

  const words = {
    NotAllowedError: "cancelled",
    AbortError: "cancelled",
    TimeoutError: "cancelled",
    InvalidStateError: "known",
    EndedError: "ended",
  };

  let waiting; // stops what the device offers while the login form is filled in
  let offered; // is kept when that has ended

  for (const form of forms) {
    form.hidden = false;
    const box = form.closest(".scripted");
    if (box) box.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button[type=submit]");
      if (button.disabled) return;
      const label = button.textContent;
      say(form, "");
      button.disabled = true;
      button.textContent = form.dataset.busy;
      try {
        waiting?.abort(); // a browser asks for one passkey at a time
        waiting = undefined;
        await offered;
        const { flow, options } = await begin(form);
        const credential =
          form.dataset.passkey === "create"
            ? await navigator.credentials.create({ publicKey: creation(options) })
            : await navigator.credentials.get({ publicKey: request(options) });
        send(form, flow, credential);
      } catch (error) {
        button.disabled = false;
        button.textContent = label;
        say(form, words[error.name] ?? "failed");
        if (form.hasAttribute("data-autofill")) offered = offer(form);
      }
    });
  }

  // The login's address field offers passkeys, where the browser can
  // (conditional mediation). It is begun anew before the server forgets it.
  const renew = 4 * 60 * 1000; // ms
  const offer = async (form) => {
    const stop = new AbortController();
    const signal = stop.signal;
    waiting = stop;
    const timer = setTimeout(async () => {
      stop.abort();
      await offered;
      const again = () => {
        if (waiting === stop) offered = offer(form);
      };
      if (document.visibilityState === "visible") again();
      else document.addEventListener("visibilitychange", again, { once: true });
    }, renew);
    try {
      if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
      signal.throwIfAborted();
      const { flow, options } = await begin(form, signal);
      const credential = await navigator.credentials.get({ publicKey: request(options), mediation: "conditional", signal });
      send(form, flow, credential);
    } catch {
      // It was an offer; the button says what goes wrong.
    } finally {
      clearTimeout(timer);
    }
  };
  const login = forms.find((form) => form.hasAttribute("data-autofill"));
  if (login) offered = offer(login);
})();
