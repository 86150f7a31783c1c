/** Hooks for React 18 and newer. The client is made once and shared; a component that is gone leaves nothing behind. */
import { createContext, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { follow, onTarget } from "./follow.js";
import { createClient } from "./index.js";
import { quality } from "./iterate.js";
/** The client that the hooks below use: `<EventwireContext value={client}>`. */
export const EventwireContext = createContext(undefined);
function useClient(client) {
    const given = useContext(EventwireContext);
    const used = client ?? given;
    if (!used)
        throw new Error("no Eventwire client: pass one to the hook, or wrap the component in <EventwireContext value={client}>");
    return used;
}
/**
 * A client of its own for a component: connects when the component is shown and closes when it is gone. `url` and `options` are
 * read once. In strict mode, where React shows every component twice, one connection remains.
 */
export function useEventwire(url, options) {
    const [client] = useState(() => createClient(url, options));
    useEffect(() => {
        // A component that is taken away and put back in the same moment keeps its client, so nothing is opened for the first.
        const timer = setTimeout(() => client.start());
        return () => {
            clearTimeout(timer);
            client.close();
        };
    }, [client]);
    return client;
}
/** Where the connection stands; the component is rendered anew with every change. */
export function useConnectionState(client) {
    const used = useClient(client);
    return useSyncExternalStore(useCallback((changed) => used.on("state", changed), [used]), () => used.state, () => used.state);
}
/** How good the connection is. */
export function useQuality(client) {
    const used = useClient(client);
    return useSyncExternalStore(useCallback((changed) => {
        const offs = [used.on("state", changed), used.on("latency", changed)];
        return () => offs.forEach((off) => off());
    }, [used]), () => quality(used), () => quality(used));
}
/** Calls `handler` for every event of a type or for a signal, with `to` of that target only. The newest handler is used; it need not be memoised. */
export function useEvent(type, handler, { to, client } = {}) {
    const used = useClient(client);
    const newest = useRef(handler);
    useEffect(() => {
        newest.current = handler;
    });
    useEffect(() => {
        const call = ((value) => newest.current(value));
        return to === undefined ? used.on(type, call) : onTarget(used, to, type, call);
    }, [used, type, to]);
}
/** Receives a target as long as the component is shown, and says what is missing of it, or why it is refused. Components that want the same target share it. */
export function useTarget(to, { since, client } = {}) {
    const { gap, refused } = useEvents(to, { since, client, reduce: ignore, initial: undefined });
    return { ...(gap && { gap }), ...(refused && { refused }) };
}
const ignore = () => undefined;
export function useEvents(to, { since, client, limit = 1000, reduce, initial } = {}) {
    const used = useClient(client);
    const newest = useRef({ limit, reduce });
    useEffect(() => {
        newest.current = { limit, reduce };
    });
    const begin = () => ({ to, used, value: reduce ? initial : [] });
    const [kept, setKept] = useState(begin);
    useEffect(() => {
        setKept(begin());
        if (to === undefined)
            return undefined;
        return follow(used, to, {
            since,
            event(event) {
                const { limit, reduce } = newest.current;
                setKept((kept) => {
                    const value = reduce ? reduce(kept.value, event) : [...kept.value, event].slice(-limit);
                    return Object.is(value, kept.value) ? kept : { ...kept, value };
                });
            },
            gap: (gap) => setKept((kept) => ({ ...kept, gap })),
            refused: (refused) => setKept((kept) => ({ ...kept, refused })),
        });
    }, [used, to, since]);
    // Until the effect has run, what is kept is of the target before.
    const { value, gap, refused } = kept.to === to && kept.used === used ? kept : begin();
    return { events: value, state: value, ...(gap && { gap }), ...(refused && { refused }) };
}
