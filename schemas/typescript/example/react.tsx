// The same in React: the lines of one agent run as they come. Copy it into an application with React 18 or newer.

import { useState } from "react";

import { EventwireContext, useConnectionState, useEvent, useEventwire, useQuality, useTarget } from "@eventwire/client/react";

export function App({ url }: { url: string }) {
  const client = useEventwire(url);
  return (
    <EventwireContext.Provider value={client}>
      <Status />
      <Run adw="29fb6a3e" />
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

function Run({ adw }: { adw: string }) {
  const [lines, setLines] = useState<string[]>([]);
  useTarget(`adw:${adw}`);
  useEvent("adw.text_block", (event) => setLines((all) => [...all, event.data.content]));
  useEvent("gap", ({ stream }) => setLines((all) => [...all, `… something is missing in ${stream}; load the run again`]));
  return (
    <ol>
      {lines.map((line, index) => (
        <li key={index}>{line}</li>
      ))}
    </ol>
  );
}
