// The same in React: two agent runs side by side, each with its own lines. Copy it into an application with React 18 or newer.

import { EventwireContext, useConnectionState, useEvents, useEventwire, useQuality } from "@eventwire/client/react";
import type { IncomingEvent, Options } from "@eventwire/client";

export function App({ url, runs = ["29fb6a3e", "7c01d9aa"], options }: { url: string; runs?: string[]; options?: Options }) {
  const client = useEventwire(url, options);
  return (
    <EventwireContext.Provider value={client}>
      <Status />
      {runs.map((adw) => (
        <Run key={adw} adw={adw} />
      ))}
    </EventwireContext.Provider>
  );
}

function Status() {
  const state = useConnectionState();
  const quality = useQuality();
  return (
    <p>
      {state.phase}, {quality}
    </p>
  );
}

/** What of an event is a line of its run. */
function lines(all: string[], event: IncomingEvent): string[] {
  return event.type === "adw.text_block" ? [...all, (event as { data: { content: string } }).data.content] : all;
}

function Run({ adw }: { adw: string }) {
  // With the history that the server keeps, then live.
  const { state, gap, refused } = useEvents<string[]>(`adw:${adw}`, { since: 0, reduce: lines, initial: [] });
  if (refused) return <p>{`${refused.to} is refused: ${refused.message}`}</p>;
  return (
    <section id={adw}>
      {gap && <p>{`something of ${gap.to} is missing (${gap.reason}); load the run again`}</p>}
      <ol>
        {state.map((line, index) => (
          <li key={index}>{line}</li>
        ))}
      </ol>
    </section>
  );
}
