// A page without a bundler: shows the state of the connection, events and gaps. Open it from any static server, for instance
// `python3 -m http.server` in schemas/typescript, with a gateway at 127.0.0.1:4800; or name another with ?server=http://...

import { createClient } from "../dist/index.js";
import { quality } from "../dist/iterate.js";

const server = new URLSearchParams(location.search).get("server") ?? "http://127.0.0.1:4800";
const show = (id, text) => (document.getElementById(id).textContent = text);
const line = (text, kind = "") => {
  const item = document.createElement("li");
  item.className = kind;
  // Text is data: nothing of an event becomes markup.
  item.textContent = text;
  document.getElementById("events").prepend(item);
};

const client = createClient(server);
// For the console, and for the test of this page.
window.client = client;

show("server", server);
const rate = () => show("quality", quality(client));
client.on("state", (state) => {
  show("state", state.phase);
  document.getElementById("state").dataset.phase = state.phase;
  if (state.phase === "connected") show("transport", state.transport);
  if (state.phase === "reconnecting" || state.phase === "failed") line(`${state.phase}: ${state.reason} (${state.code})`, "gap");
  rate();
});
client.on("latency", (ms) => {
  show("latency", `${Math.round(ms)} ms`);
  rate();
});
client.on("*", (event) => line(`${event.seq ?? ""} ${event.to} ${event.type} ${JSON.stringify(event.data)}`));
client.on("gap", ({ stream, reason }) => line(`gap in ${stream}: ${reason}`, "gap"));
client.on("refused", ({ to, message }) => line(`${to} is refused: ${message}`, "gap"));

document.getElementById("subscribe").addEventListener("submit", (event) => {
  event.preventDefault();
  client.subscribe(document.getElementById("target").value).catch((error) => line(error.message, "gap"));
});
document.getElementById("switch").addEventListener("click", () => client.switchTo(client.state.transport === "sse" ? "websocket" : "sse"));
document.getElementById("close").addEventListener("click", () => client.close());
document.getElementById("start").addEventListener("click", () => client.start());

client.start();
