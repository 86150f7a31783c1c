/** Hooks for React 18 and newer. The client is made once and shared; a component that is gone leaves nothing behind. */
import { type Context } from "react";
import { type Client, type Event, type Handler, type Options, type Quality, type Signals, type State } from "./index.js";
/** The client that the hooks below use: `<EventwireContext value={client}>`. */
export declare const EventwireContext: Context<Client | undefined>;
/**
 * A client of its own for a component: connects when the component is shown and closes when it is gone. `url` and `options` are
 * read once. In strict mode, where React shows every component twice, one connection remains.
 */
export declare function useEventwire(url: string, options?: Options): Client;
/** Where the connection stands; the component is rendered anew with every change. */
export declare function useConnectionState(client?: Client): State;
/** How good the connection is. */
export declare function useQuality(client?: Client): Quality;
/** Calls `handler` for every event of a type or for a signal. The newest handler is used; it need not be memoised. */
export declare function useEvent<K extends keyof Signals | Event["type"]>(type: K, handler: Handler<K>, client?: Client): void;
/** Receives a target as long as the component is shown. Components that want the same target share it. */
export declare function useTarget(target: string | undefined, client?: Client): void;
