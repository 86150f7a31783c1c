// Eventwire in Svelte: copy this file into your application and change it as you like. `$state` in a component is the present
// state, and so on: the stores listen as long as somebody is subscribed to them.

import { readable, type Readable } from "svelte/store";

import { type Client, type Event, type EventOf, type State } from "@eventwire/client";

/** Where the connection stands. */
export function connectionState(client: Client): Readable<State> {
  return readable(client.state, (set) => {
    set(client.state);
    return client.on("state", set);
  });
}

/** The newest events of a type, the last one at the end; at most `limit`. */
export function newest<T extends Event["type"]>(client: Client, type: T, limit = 100): Readable<EventOf<T>[]> {
  return readable<EventOf<T>[]>([], (_, update) => client.on(type, ((event: EventOf<T>) => update((all) => [...all, event].slice(-limit))) as never));
}
