// Comforts of forms. Every form works without this file.
(() => {
  "use strict";

  // A form is sent once; the page may come back from the browser's memory.
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (event.defaultPrevented) return;
      if (form.hasAttribute("data-sent")) {
        event.preventDefault();
        return;
      }
      form.setAttribute("data-sent", "");
      // After this turn: a button that is off would not be sent itself.
      setTimeout(() => {
        for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = true;
      });
    });
  }
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-sent]")) {
      form.removeAttribute("data-sent");
      for (const button of form.querySelectorAll("button[type=submit]")) button.disabled = false;
    }
  });

  // Show what is typed as a password.
  for (const button of document.querySelectorAll("button[data-reveal]")) {
    const input = document.getElementById(button.dataset.reveal);
    if (!input) continue;
    const set = (shown) => {
      input.type = shown ? "text" : "password";
      button.setAttribute("aria-pressed", String(shown));
    };
    button.hidden = false;
    button.addEventListener("click", () => set(input.type === "password"));
    // Sent as a password, so that the browser keeps it as one.
    input.form?.addEventListener("submit", () => set(false));
  }

  // How hard a password is to guess, once typing pauses. The server counts; what
  // is typed goes nowhere but there.
  const pause = 350; // ms
  for (const meter of document.querySelectorAll("[data-strength]")) {
    const input = document.getElementById(meter.dataset.strength);
    const words = meter.querySelector("output");
    if (!input || !words) continue;
    let timer = 0;
    let asked;
    const hide = () => {
      meter.hidden = true;
      words.textContent = "";
    };
    const ask = async () => {
      asked?.abort();
      if (input.value === "") return hide();
      asked = new AbortController();
      const body = { password: input.value };
      const email = input.form?.querySelector("input[type=email]")?.value;
      if (email) body.email = email;
      try {
        const answer = await fetch(meter.dataset.path, {
          method: "POST",
          headers: { "Content-Type": "application/json", Accept: "application/json" },
          body: JSON.stringify(body),
          signal: asked.signal,
        });
        if (!answer.ok) return hide();
        const { score } = await answer.json();
        const text = meter.dataset[String(score)];
        if (text === undefined) return hide();
        meter.dataset.score = String(score);
        meter.hidden = false;
        if (words.textContent !== text) words.textContent = text;
      } catch (error) {
        if (error.name !== "AbortError") hide();
      }
    };
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(ask, pause);
    });
  }

  // Copy a secret that is shown once.
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    if (!source || !navigator.clipboard) continue;
    const word = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const parts = [...source.querySelectorAll("code")];
      const text = (parts.length ? parts : [source]).map((e) => e.textContent.trim()).join("\n");
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = button.dataset.done;
        setTimeout(() => (button.textContent = word), 2000);
      } catch {
        getSelection()?.selectAllChildren(source);
      }
    });
  }
})();
