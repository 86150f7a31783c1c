// Commands and publications as the console's forms build them: checked before they are sent, without a browser.

/** Kinds of audience a person can subscribe to or publish to, with what their id looks like. */
export const KINDS = {
  adw: { label: "adw", hint: "8 letters or digits", id: /^[0-9A-Za-z]{8}$/ },
  room: { label: "room", hint: "room name", id: /^[A-Za-z0-9_.:@-]{1,128}$/ },
  session: { label: "session", hint: "context id", id: /^[A-Za-z0-9_.:@-]{1,128}$/ },
  user: { label: "user", hint: "user id", id: /^[A-Za-z0-9_.:@-]{1,128}$/ },
  global: { label: "global", hint: "", id: null },
  "*": { label: "* (observe all)", hint: "", id: null },
};

/** The audience a kind and an id name. Throws an Error that says what is wrong with the id. */
export function audience(kind, id) {
  const known = Object.hasOwn(KINDS, kind) ? KINDS[kind] : null;
  if (known === null) throw new Error(`unknown audience kind "${kind}"`);
  if (known.id === null) return kind;
  if (!known.id.test(id)) {
    const rule = kind === "adw" ? "an ADW id is exactly 8 letters or digits" : "an id is 1 to 128 of A-Z a-z 0-9 _ . : @ -";
    throw new Error(`"${id}" is not a ${kind} id: ${rule}`);
  }
  return `${kind}:${id}`;
}

/** A whole number from 0 to 2^53-1 out of a form field; undefined when the field is empty. */
export function sinceOf(text) {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  const value = Number(trimmed);
  if (!/^\d+$/.test(trimmed) || !Number.isSafeInteger(value)) throw new Error(`since "${trimmed}" is not a whole number`);
  return value;
}

/**
 * A command from form fields: `{command, id, targets: [{kind, id, since}], epoch, clientTime}`.
 * Throws an Error for the person who filled the form.
 */
export function build(form) {
  const head = (type, data) => (form.id ? { type, id: form.id, data } : { type, data });
  switch (form.command) {
    case "ping":
      return head("ping", form.clientTime === undefined ? {} : { client_time: form.clientTime });
    case "subscribe": {
      const streams = targets(form).map(({ kind, id, since }) => {
        const to = audience(kind, id.trim());
        const from = sinceOf(since ?? "");
        return from === undefined ? { to } : { to, since: from };
      });
      const resumes = streams.some((stream) => stream.since !== undefined);
      return head("subscribe", resumes && form.epoch ? { epoch: form.epoch, streams } : { streams });
    }
    case "unsubscribe":
      return head("unsubscribe", { streams: targets(form).map(({ kind, id }) => ({ to: audience(kind, id.trim()) })) });
    default:
      throw new Error(`unknown command "${form.command}"`);
  }
}

function targets(form) {
  if (form.targets.length === 0) throw new Error("name at least one audience");
  return form.targets;
}

/** A command from raw text: must be a JSON object with a `type`. Returns `{text, command}`; throws an Error that says where. */
export function parseRaw(text) {
  let command;
  try {
    command = JSON.parse(text);
  } catch (error) {
    throw new Error(`not JSON: ${error.message}`);
  }
  if (command === null || typeof command !== "object" || Array.isArray(command)) throw new Error("a command is a JSON object");
  if (typeof command.type !== "string") throw new Error('a command needs a "type"');
  return { text: JSON.stringify(command), command };
}

/** The same command with its token, if it carries one, struck out: what may be shown. */
export function redacted(command) {
  if (command?.data === null || typeof command?.data !== "object" || !Object.hasOwn(command.data, "token")) return command;
  return { ...command, data: { ...command.data, token: "(not shown)" } };
}

/** A publication from form fields `{type, to, data}` where `data` is JSON text. Throws an Error for the person. */
export function publication({ type, to, data }) {
  if (!/^_?[a-z0-9]+(_[a-z0-9]+)*(\.[a-z0-9_]+)+$/.test(type)) throw new Error(`"${type}" is not an event type such as adw.text_block`);
  if (to === "") throw new Error("an event needs an audience, such as adw:29fb6a3e");
  let payload;
  try {
    payload = JSON.parse(data);
  } catch (error) {
    throw new Error(`data is not JSON: ${error.message}`);
  }
  if (payload === null || typeof payload !== "object" || Array.isArray(payload)) throw new Error("data must be a JSON object");
  return { type, to, data: payload };
}
