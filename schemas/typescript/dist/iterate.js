/** What can be told from outside of a client: waiting for it in `async` functions, its events one after the other, its quality. */
import { unseen } from "./follow.js";
import { EventwireError } from "./index.js";
/** How good the connection is now; may change with the signals `state` and `latency`. */
export function quality({ state, latency = 0 }) {
    if (state.phase !== "connected")
        return "offline";
    return latency >= 800 ? "poor" : latency >= 200 ? "fair" : "good";
}
/** Resolves when the client is connected; rejects when it was closed or has given up, or when the signal is aborted. */
export function connected(client, { signal } = {}) {
    return new Promise((resolve, reject) => {
        const control = new AbortController();
        const end = (settle) => {
            control.abort();
            settle();
        };
        const look = () => {
            const { state } = client;
            if (state.phase === "connected")
                end(resolve);
            else if (state.phase === "failed")
                end(() => reject(new EventwireError("failed", `${state.reason} (${state.code})`, state)));
            else if (state.phase === "closed")
                end(() => reject(new EventwireError("closed")));
        };
        signal?.throwIfAborted();
        signal?.addEventListener("abort", () => end(() => reject(signal.reason)), control);
        client.on("state", look, control);
        look();
    });
}
export function events(client, { signal, types, to, buffer = 1000 } = {}) {
    const control = new AbortController();
    const waiting = [];
    let over;
    let wake = () => { };
    const end = (how) => {
        control.abort();
        over ??= how;
        wake();
    };
    const aborted = () => {
        waiting.length = 0;
        end({ error: signal?.reason });
    };
    const isNew = unseen(client, control);
    client.on("*", (event) => {
        if (!isNew(event) || (types && !types.includes(event.type)) || (to && event.to.split("/", 1)[0] !== to))
            return;
        if (waiting.length < buffer)
            waiting.push(event);
        else
            end({ error: new EventwireError("buffer_overflow", `more than ${buffer} events wait to be read`) });
        wake();
    }, control);
    client.on("state", (state) => {
        if (state.phase === "closed")
            end({});
        else if (state.phase === "failed")
            end({ error: new EventwireError("failed", `${state.reason} (${state.code})`, state) });
    }, control);
    if (signal?.aborted)
        aborted();
    signal?.addEventListener("abort", aborted, control);
    return {
        async next() {
            for (;;) {
                const value = waiting.shift();
                if (value)
                    return { value, done: false };
                if (over) {
                    const { error } = over;
                    over = {};
                    if (error)
                        throw error;
                    return { value: undefined, done: true };
                }
                await new Promise((resolve) => (wake = resolve));
            }
        },
        async return() {
            waiting.length = 0;
            end({});
            return { value: undefined, done: true };
        },
        [Symbol.asyncIterator]() {
            return this;
        },
    };
}
