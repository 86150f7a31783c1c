/** Hooks for React 18 and newer. The client is made once and shared; a component that is gone leaves nothing behind. */
import { createContext, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";
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
/** Calls `handler` for every event of a type or for a signal. The newest handler is used; it need not be memoised. */
export function useEvent(type, handler, client) {
    const used = useClient(client);
    const newest = useRef(handler);
    useEffect(() => {
        newest.current = handler;
    });
    useEffect(() => used.on(type, ((value) => newest.current(value))), [used, type]);
}
/** Receives a target as long as the component is shown. Components that want the same target share it. */
export function useTarget(target, client) {
    const used = useClient(client);
    useEffect(() => {
        if (!target)
            return undefined;
        const counts = shared.get(used) ?? new Map();
        shared.set(used, counts);
        const count = counts.get(target) ?? 0;
        counts.set(target, count + 1);
        // A refusal is told by the signal `refused`; a client that is closed wants nothing.
        if (count === 0)
            used.subscribe(target).catch(() => { });
        return () => {
            const left = (counts.get(target) ?? 1) - 1;
            if (left > 0)
                counts.set(target, left);
            else {
                counts.delete(target);
                used.unsubscribe(target).catch(() => { });
            }
        };
    }, [used, target]);
}
const shared = new WeakMap();
