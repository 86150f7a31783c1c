// Eventwire in Svelte: copy this file into your application and change it as you like. `$state` in a component is the present
// state, and so on: a store listens while it has a subscriber.

import { readable, type Readable } from "svelte/store";

import { type Client, type Event, type EventOf, type Gap, type IncomingEvent, type RefusedStream, type State } from "@eventwire/client";
import { follow, onTarget } from "@eventwire/client/follow";

/** Where the connection stands. */
export function connectionState(client: Client): Readable<State> {
  return readable(client.state, (set) => {
    set(client.state);
    return client.on("state", set);
  });
}

/** The newest events of a type, the last one at the end; at most `limit`. With `to` those of that target only. */
export function newest<T extends Event["type"]>(client: Client, type: T, { limit = 100, to }: { limit?: number; to?: string } = {}): Readable<EventOf<T>[]> {
  return readable<EventOf<T>[]>([], (_, update) => {
    const add = (event: EventOf<T>) => update((all) => [...all, event].slice(-limit));
    return to === undefined ? client.on(type, add as never) : onTarget(client, to, type, add);
  });
}

/** The state of one target. */
export interface TargetState {
  /** The newest gap of the target: load its state anew. */
  gap?: Gap;
  /** Why the target is not received. */
  refused?: RefusedStream;
}

/**
 * Receives a target while the store has a subscriber, and keeps what `reduce` makes of its events. `since: 0` begins with
 * everything that is kept. Stores of the same target share its subscription.
 */
export function reduced<S>(client: Client, to: string, { since, reduce, initial }: { since?: number; reduce: (state: S, event: IncomingEvent) => S; initial: S }): Readable<TargetState & { state: S }> {
  return readable<TargetState & { state: S }>({ state: initial }, (set, update) => {
    // A store that was left and is read again begins anew.
    set({ state: initial });
    return follow(client, to, {
      since,
      event: (event) => update((kept) => ({ ...kept, state: reduce(kept.state, event) })),
      gap: (gap) => update((kept) => ({ ...kept, gap })),
      refused: (refused) => update((kept) => ({ ...kept, refused })),
    });
  });
}

/** The newest events of a target, the last one at the end; at most `limit`. */
export function targetEvents(client: Client, to: string, { since, limit = 1000 }: { since?: number; limit?: number } = {}): Readable<TargetState & { state: IncomingEvent[] }> {
  return reduced<IncomingEvent[]>(client, to, { ...(since !== undefined && { since }), reduce: (all, event) => [...all, event].slice(-limit), initial: [] });
}
