// Eventwire in Vue 3: copy this file into your application and change it as you like.

import { onScopeDispose, ref, shallowRef, type Ref, type ShallowRef } from "vue";

import { createClient, type Client, type Event, type Handler, type Options, type Signals, type State } from "@eventwire/client";

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

/** Calls `handler` for every event of a type or for a signal, until the scope ends. */
export function useEvent<K extends keyof Signals | Event["type"]>(client: Client, type: K, handler: Handler<K>): void {
  onScopeDispose(client.on(type, handler));
}
