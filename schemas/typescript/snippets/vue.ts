// Eventwire in Vue 3: copy this file into your application and change it as you like.

import { onScopeDispose, ref, shallowRef, toValue, watch, type MaybeRefOrGetter, type Ref, type ShallowRef } from "vue";

import { createClient, type Client, type Event, type Gap, type Handler, type IncomingEvent, type Options, type RefusedStream, type Signals, type State } from "@eventwire/client";
import { follow, onTarget } from "@eventwire/client/follow";

/** A client for a component or scope: connects at once, closes with the scope, and its state is reactive. */
export function useEventwire(url: string, options?: Options): { client: Client; state: ShallowRef<State>; latency: Ref<number | undefined> } {
  const client = createClient(url, options);
  const state = shallowRef(client.state);
  const latency = ref<number>();
  client.on("state", (now) => (state.value = now));
  client.on("latency", (now) => (latency.value = now));
  client.start();
  onScopeDispose(() => client.close());
  return { client, state, latency };
}

/** Calls `handler` for every event of a type or for a signal, until the scope ends; with `to` for those of that target only. */
export function useEvent<K extends keyof Signals | Event["type"]>(client: Client, type: K, handler: Handler<K>, { to }: { to?: MaybeRefOrGetter<string | undefined> } = {}): void {
  watch(
    () => toValue(to),
    (target, _, ended) => ended(target === undefined ? client.on(type, handler) : onTarget(client, target, type, handler)),
    { immediate: true, flush: "sync" },
  );
}

/** The state of one target. */
export interface TargetState {
  /** The newest gap of the target: load its state anew. */
  gap: ShallowRef<Gap | undefined>;
  /** Why the target is not received. */
  refused: ShallowRef<RefusedStream | undefined>;
}

/** Receives a target until the scope ends. `since: 0` begins with everything that is kept. Parts of a page that want the same target share it. */
export function useTarget(client: Client, to: MaybeRefOrGetter<string | undefined>, options: { since?: number } = {}): TargetState {
  const { gap, refused } = useEvents<undefined>(client, to, { ...options, reduce: () => undefined, initial: undefined });
  return { gap, refused };
}

/** Receives a target and keeps its newest `limit` events (1,000 unless set), or what `reduce` makes of them. Another `to` begins anew. */
export function useEvents(client: Client, to: MaybeRefOrGetter<string | undefined>, options?: { since?: number; limit?: number }): TargetState & { events: ShallowRef<IncomingEvent[]> };
export function useEvents<S>(client: Client, to: MaybeRefOrGetter<string | undefined>, options: { since?: number; reduce: (state: S, event: IncomingEvent) => S; initial: S }): TargetState & { state: ShallowRef<S> };
export function useEvents(
  client: Client,
  to: MaybeRefOrGetter<string | undefined>,
  { since, limit = 1000, reduce, initial }: { since?: number; limit?: number; reduce?: (state: any, event: IncomingEvent) => any; initial?: unknown } = {},
): TargetState & { events: ShallowRef<any>; state: ShallowRef<any> } {
  const kept = shallowRef<any>();
  const gap = shallowRef<Gap>();
  const refused = shallowRef<RefusedStream>();
  watch(
    () => toValue(to),
    (target, _, ended) => {
      kept.value = reduce ? initial : [];
      gap.value = refused.value = undefined;
      if (target === undefined) return;
      ended(
        follow(client, target, {
          since,
          event: (event) => (kept.value = reduce ? reduce(kept.value, event) : [...kept.value, event].slice(-limit)),
          gap: (now) => (gap.value = now),
          refused: (now) => (refused.value = now),
        }),
      );
    },
    { immediate: true, flush: "sync" },
  );
  return { events: kept, state: kept, gap, refused };
}
