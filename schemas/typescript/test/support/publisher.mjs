// A process of its own that publishes numbered events and reports each receipt as a line of JSON:
//
//     node publisher.mjs <url> <pause ms> <target>...
//
// Events of one target are numbered 1, 2, ...; the next is published when the one before was answered. A publication that was
// not answered has an unknown end: its number is reported as `unknown`, and the next one is another number. Ends when
// standard input ends.

const [url, pause, ...targets] = process.argv.slice(2);
let over = false;
process.stdin.on("data", () => {});
process.stdin.on("end", () => (over = true));

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function run(to) {
  for (let n = 1; !over; n += 1) {
    try {
      const response = await fetch(`${url}/v1/events`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ type: "_test.number", to, data: { n } }), signal: AbortSignal.timeout(5_000) });
      const body = await response.json();
      if (response.status === 202 && body.results[0].seq) say({ to, n, seq: body.results[0].seq });
      else say({ to, n, unknown: response.status });
    } catch (error) {
      say({ to, n, unknown: String(error?.cause?.code ?? error) });
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await new Promise((resolve) => setTimeout(resolve, Number(pause)));
  }
}

await Promise.all(targets.map(run));
