// A gateway of our own for each test: started on a free port, killed or stopped, and always gone at the end.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const binary = process.env.EVENTWIRE_BINARY ?? fileURLToPath(new URL("../../../../target/debug/eventwire", import.meta.url));
const BOUND_MS = 20_000;

export async function gateway({ port = 0, args = [] } = {}) {
  if (!existsSync(binary)) throw new Error(`there is no ${binary}; run \`cargo build --bins\``);
  const folder = mkdtempSync(join(tmpdir(), "eventwire-client-"));
  const portFile = join(folder, "port");
  let said = "";
  // Settings of the person who runs the tests do not count.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("EVENTWIRE_")));
  const child = spawn(binary, ["serve", "--listen", `127.0.0.1:${port}`, "--port-file", portFile, "--no-sample", "--log", "warn", ...args], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.on("data", (text) => (said += text));
  child.stderr.on("data", (text) => (said += text));
  const gone = new Promise((resolve) => child.on("exit", resolve));
  const end = Date.now() + BOUND_MS;
  while (!existsSync(portFile) || !readFileSync(portFile, "utf8").includes("\n")) {
    if (child.exitCode !== null || Date.now() > end) {
      child.kill("SIGKILL");
      throw new Error(`the gateway did not start: ${said}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const address = readFileSync(portFile, "utf8").split("\n")[0];
  const finish = async (signal) => {
    child.kill(signal);
    await gone;
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    url: `http://${address}`,
    port: Number(address.split(":").at(-1)),
    folder,
    /** At once, as when the machine goes. */
    kill: () => finish("SIGKILL"),
    /** With notice to everybody. */
    stop: () => finish("SIGTERM"),
  };
}

/** Asks until the answer is true, with a bound. */
export async function until(ask, what, bound = BOUND_MS) {
  const end = Date.now() + bound;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`not within ${bound / 1000} s: ${typeof what === "function" ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Publishes one event; returns its receipt. */
export async function publish(url, to, data, { type = "_test.number", token } = {}) {
  const headers = { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(`${url}/v1/events`, { method: "POST", headers, body: JSON.stringify({ type, to, data }) });
  if (response.status !== 202) throw new Error(`publishing answered ${response.status}: ${await response.text()}`);
  return (await response.json()).results[0];
}
