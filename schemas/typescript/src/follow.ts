/** One target for one part of a page: its events, its gaps and its refusal. Parts that follow the same target share its subscription. */

import type { Client, Event, Gap, IncomingEvent, RefusedStream, Signals } from "./index.js";

/** What `follow` calls. */
export interface Follower {
  /** Begin after this number; 0: with everything that is kept. Without it from now on. */
  since?: number | undefined;
  /** An event of the target: each once, in order. */
  event?: (event: IncomingEvent) => void;
  /** Events of the target that will not come. */
  gap?: (gap: Gap) => void;
  /** The target is refused. */
  refused?: (refused: RefusedStream) => void;
}

const rootOf = (to: string): string => to.split("/", 1)[0] as string;
const counts = new WeakMap<Client, Map<string, number>>();

/**
 * Whether one reader has not seen an event yet. When another part of the page asks for an earlier beginning, the client receives
 * events again; a reader that has them is not given them twice.
 */
export function unseen(client: Client, options: { signal: AbortSignal }): (event: IncomingEvent) => boolean {
  const last = new Map<string, number>();
  client.on(
    "gap",
    ({ to, reason }) => {
      // Numbers of another history say nothing about this one.
      if (reason === "epoch_changed") to === "*" ? last.clear() : last.delete(to);
    },
    options,
  );
  return (event) => {
    const { to, seq } = event as { to: string; seq?: number };
    if (seq === undefined) return true;
    const root = rootOf(to);
    if (seq <= (last.get(root) ?? 0)) return false;
    last.set(root, seq);
    return true;
  };
}

/** Whether a value of a signal or an event is about a target. */
export function concerns(client: Client, to: string, type: string, value: unknown): boolean {
  if (["state", "latency", "frame"].includes(type)) return true;
  const { to: about } = value as { to: string };
  if (to === "*" || rootOf(about) === to) return true;
  // What is missing of everything concerns a target that has no place of its own.
  return type === "gap" && about === "*" && !client.targets.includes(to);
}

/** Calls a handler for every event of a type, or for a signal, that is about a target. Returns the function that ends it. */
export function onTarget(client: Client, to: string, type: keyof Signals | Event["type"], handler: (value: any) => void): () => void {
  const control = new AbortController();
  const isNew = unseen(client, control);
  const isSignal = ["state", "latency", "frame", "gap", "refused"].includes(type);
  client.on(type, ((value: any) => concerns(client, to, type, value) && (isSignal || isNew(value)) && handler(value)) as never, control);
  return () => control.abort();
}

/** Receives a target as long as it is followed, beside all others that follow it. Returns the function that ends it. */
export function follow(client: Client, to: string, { since, event, gap, refused }: Follower = {}): () => void {
  const offs = ([["*", event], ["gap", gap], ["refused", refused]] as const).flatMap(([type, handler]) => (handler ? onTarget(client, to, type, handler) : []));
  const shared = counts.get(client) ?? new Map<string, number>();
  counts.set(client, shared);
  const isWanted = client.targets.includes(to);
  const at = client.checkpoint().positions[to];
  // What others have not received yet is not passed over. A refusal comes as a signal; a client that is closed wants nothing.
  if (since !== undefined) client.subscribe({ to, since: isWanted ? Math.min(since, at ?? since) : since }).catch(() => {});
  else if (!isWanted) client.subscribe(to).catch(() => {});
  shared.set(to, (shared.get(to) ?? 0) + 1);
  let over = false;
  return () => {
    if (over) return;
    over = true;
    for (const off of offs) off();
    const left = (shared.get(to) ?? 1) - 1;
    if (left > 0) shared.set(to, left);
    else {
      shared.delete(to);
      client.unsubscribe(to).catch(() => {});
    }
  };
}
