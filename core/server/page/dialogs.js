// Questions that have to be answered before anything else.

const at = (id) => document.getElementById(id);
const dialog = at("ask");

/**
 * Asks; one at a time. Resolves to what was said, or "" if nothing was to be said but yes, or null if the answer is no.
 */
let asking = Promise.resolve();
export function ask(question) {
  const answered = asking.then(() => put(question));
  asking = answered.catch(() => {});
  return answered;
}

function put({ title, text = "", label = "", value = "", yes, no = "Cancel", isSecret = false }) {
  at("ask-title").textContent = title;
  at("ask-text").textContent = text;
  at("ask-text").hidden = text === "";
  at("ask-label").textContent = label;
  const field = at("ask-field");
  field.hidden = label === "";
  field.required = label !== "";
  field.type = isSecret ? "password" : "text";
  field.value = value;
  at("ask-yes").textContent = yes;
  at("ask-no").textContent = no;
  at("ask-no").hidden = no === "";
  dialog.returnValue = "";
  dialog.showModal();
  (label === "" ? at("ask-yes") : field).focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const said = label === "" ? "" : field.value;
      field.value = "";
      resolve(dialog.returnValue === "yes" ? said : null);
    }, { once: true });
  });
}

/** Tells something. */
export function tell({ title, text }) {
  return ask({ title, text, yes: "Close", no: "" });
}

/** Enter in the field says yes. */
at("ask-field").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.isComposing) {
    event.preventDefault();
    at("ask-yes").click();
  }
});
