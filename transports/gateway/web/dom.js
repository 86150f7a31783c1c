// Building elements. Whatever comes from an event enters the page through here, as a text node: there is no way to turn
// a string into markup in this file, nor anywhere else in the inspector.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "htmlFor", "type", "open"]);

/**
 * An element. `attributes`: `class`, `on: {click: f}`, DOM properties of PROPERTIES, any other name as an attribute
 * (false, null and undefined leave it out). Children: elements, or values shown as text.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "class") element.className = value;
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Sets text only when it differs: selections and assistive technology are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes `parent`'s children exactly `wanted`, in order, moving as little as possible. */
export function arrange(parent, wanted) {
  const stay = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!stay.has(child)) child.remove();
  let at = parent.firstChild;
  for (const element of wanted) {
    if (at === element) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
}

/** Fills a select with options `[value, label]`, keeping the choice; a choice that is not offered is added. */
export function setOptions(select, options) {
  const key = JSON.stringify(options);
  if (select.dataset.options === key) return;
  const chosen = select.value;
  select.dataset.options = key;
  select.replaceChildren(...options.map(([value, label]) => h("option", { value }, label)));
  choose(select, chosen);
}

/** Chooses a value in a select, offering it when it is not there. */
export function choose(select, value) {
  if (![...select.options].some((option) => option.value === value)) select.append(h("option", { value }, value));
  select.value = value;
}

/** A button that copies text and says so for a moment. */
export function copyButton(text, label = "copy") {
  const button = h("button", { type: "button", class: "quiet", on: { click: copy } }, label);
  async function copy() {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "copied";
    } catch {
      button.textContent = "select and copy by hand";
    }
    setTimeout(() => (button.textContent = label), 1500);
  }
  return button;
}
