/**
 * Frames over server-sent events. Read with `fetch` and not with EventSource: this way a token goes into a header, a refusal
 * shows its status, comments count as signs of life, and Node has it.
 */

import { unreachable, type Link, type Listener } from "./link.js";

/** Cuts a stream of text into fields (WHATWG HTML, section 9.2.6). Returns the function that takes the next piece. */
export function parser({ frame, cursor }: Pick<Listener, "frame" | "cursor">): (piece: string) => void {
  let rest = "";
  let data: string[] = [];
  return (piece) => {
    const lines = (rest + piece).split(/\r?\n/);
    rest = lines.pop() as string;
    for (const line of lines) {
      const [field, value = ""] = line.split(/: ?(.*)/s);
      if (field === "data") data.push(value);
      if (field === "id") cursor(value);
      if (line || !data[0]) continue;
      frame(data.join("\n"));
      data = [];
    }
  };
}

export function openStream(fetch: typeof globalThis.fetch, url: string, token: string | undefined, credentials: RequestCredentials | undefined, listener: Listener): Link {
  const control = new AbortController();
  const { signal } = control;
  const read = async () => {
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (token) headers["authorization"] = `Bearer ${token}`;
    const response = await fetch(url, { headers, signal, credentials: credentials as RequestCredentials });
    listener.heard();
    const { status, body } = response;
    if (status !== 200 || !body) {
      const { error } = await response.json().catch(Object);
      return { code: status, reason: error?.message ?? `HTTP ${status}` };
    }
    const take = parser(listener);
    const decoder = new TextDecoder();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { code: 1006, reason: "" };
      listener.heard();
      take(decoder.decode(value, { stream: true }));
    }
  };
  read().then(listener.end, (error) => listener.lost(unreachable("SSE", error.cause?.code)));
  return { close: () => control.abort() };
}
