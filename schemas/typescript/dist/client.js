/**
 * The shell around the session: it opens links, moves frames, keeps time, and answers the application. What it decides about
 * targets, positions and repetitions is in session.ts, and when to come back in reconnect.ts.
 */
import { reconnecting } from "./reconnect.js";
import { session } from "./session.js";
import { openStream } from "./sse.js";
import { EventwireError } from "./types.js";
import { openWebSocket } from "./websocket.js";
/** Longest time that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const many = (value) => [value].flat();
/** A client of the server at `url`: `https://host`, `wss://host/v1/ws`, or in a browser a path. It does nothing before `start`. */
export function createClient(url, options = {}) {
    const { token, ticket, transports = ["websocket", "sse"], queueLimit = 32, timeout = 10_000, pingInterval = 15_000, upgradeDelay = 60_000, credentials = "same-origin", signal: outer, WebSocket = globalThis.WebSocket, fetch = globalThis.fetch, env = globalThis, } = options;
    const { Date, Math, setTimeout, clearTimeout, document, reportError = console.error } = env;
    const base = `${new URL(url, globalThis.location?.href)}`.replace(/^ws/, "http").replace(/(\/v1\/(ws|sse))?\/?([?#].*)?$/, "/v1/");
    const renewable = typeof token === "function" || !!ticket;
    const usable = transports.filter((transport) => transport === "sse" || WebSocket);
    const reconnect = reconnecting(options.backoff ?? {});
    const handlers = new Map();
    const timers = {};
    let state = { phase: "idle" };
    let quality = "offline";
    let latency;
    let line;
    /** A WebSocket that is to take the place of an SSE stream. */
    let rival;
    /** The transports that the present attempt has not tried. */
    let untried;
    let first = usable[0];
    let bearer;
    let farewell;
    let control = new AbortController();
    /** When the ping went out that is not answered. */
    let asked = 0;
    const on = (type, handler, { signal } = {}) => {
        const all = handlers.get(type) ?? new Set();
        const off = () => all.delete(handler);
        handlers.set(type, all);
        if (!signal?.aborted)
            all.add(handler);
        signal?.addEventListener("abort", off);
        return off;
    };
    const emit = (type, value) => {
        handlers.get(type)?.forEach((handler) => {
            try {
                handler(value);
            }
            catch (error) {
                // A handler that throws is the application's affair; the other handlers and the connection go on.
                reportError(error);
            }
        });
    };
    /** One timer of each name; without `run` none. */
    const wait = (name, ms = 0, run) => {
        clearTimeout(timers[name]);
        if (run)
            timers[name] = setTimeout(run, Math.min(ms, MAX_TIMER_MS));
    };
    const rate = () => {
        const before = quality;
        // What is not answered yet has taken so long at least.
        const slow = Math.max(latency ?? 0, asked ? Date.now() - asked : 0);
        quality = state.phase !== "connected" ? "offline" : slow > 1000 ? "poor" : slow > 300 ? "fair" : "good";
        if (quality !== before)
            emit("quality", quality);
    };
    const enter = (next) => {
        state = next;
        emit("state", state);
        rate();
    };
    const call = (begin, { signal } = {}) => new Promise((resolve, reject) => {
        const control = new AbortController();
        let abandon = () => { };
        signal?.throwIfAborted();
        signal?.addEventListener("abort", () => {
            abandon();
            reject(signal.reason);
        }, control);
        abandon = begin((answer) => {
            control.abort();
            const event = answer;
            if (typeof answer === "string")
                reject(new EventwireError(answer));
            else if (event.type === "connection.error")
                reject(new EventwireError(event.data.code, event.data.message, event.data));
            else
                resolve(answer);
        });
        if (state.phase === "failed" || state.phase === "closed")
            core.cut(state.phase);
    });
    const send = async (type, data, options) => {
        if (core.queued() >= queueLimit)
            throw new EventwireError("queue_full");
        return call((answer) => core.command(type, data, answer), options);
    };
    const sendText = (text) => {
        const link = line?.welcomed && line.link;
        return (link && link.send?.(text)) || false;
    };
    // Connections
    const drop = (line) => {
        line.over = true;
        wait(line.transport);
        line.link?.close();
    };
    /** Everything ends; without a state only so that it can begin anew. */
    const stop = (next) => {
        for (const each of [line, rival])
            if (each)
                drop(each);
        line = rival = undefined;
        for (const name in timers)
            wait(name);
        control.abort();
        core.cut();
        if (!next)
            return;
        enter(next);
        core.cut(next.phase);
    };
    const close = () => stop({ phase: "closed" });
    const attempt = (count, refresh) => {
        // The one that worked last comes first.
        untried = usable.filter((transport) => transport !== first);
        farewell = undefined;
        enter({ phase: "connecting", attempt: count });
        line = open(first, refresh);
    };
    const authorise = async (refresh) => {
        if (ticket)
            return [undefined, await ticket(control.signal)];
        if (refresh || !bearer)
            bearer = typeof token === "function" ? await token(control.signal) : token;
        return [bearer];
    };
    const open = (transport, refresh) => {
        const sse = transport === "sse";
        let opened = Date.now();
        const line = {
            transport,
            heard: opened,
            end(why) {
                if (line.over)
                    return;
                drop(line);
                ended(line, why);
            },
            lost: (reason) => line.end({ code: 1006, reason: `${reason}` }),
        };
        const listener = {
            ...line,
            heard() {
                line.heard = Date.now();
                if (sse && !line.welcomed)
                    latency = line.heard - opened;
            },
            frame: (text) => received(line, text),
            cursor: (id) => core.begin(id),
        };
        wait(transport, timeout, () => line.lost("timeout"));
        authorise(refresh)
            .then(([token, ticket]) => {
            if (line.over)
                return;
            // Who cannot get a token tries again, like one who cannot reach the server; who is told that there is none does not.
            if (options.token && !token)
                return line.end({ code: 403, reason: "no token" });
            const query = new URLSearchParams(sse ? core.query() : "");
            if (ticket)
                query.set("ticket", ticket);
            const url = `${base}${sse ? "sse" : "ws"}?${query}`.replace(/\?$/, "");
            opened = Date.now();
            line.link = sse ? openStream(fetch, url, token, credentials, listener) : openWebSocket(WebSocket, url, token, listener);
        })
            .catch(line.lost);
        return line;
    };
    const received = (from, text) => {
        if (from.over)
            return;
        let event;
        try {
            event = JSON.parse(text);
        }
        catch {
            // Listeners of `frame` see it.
        }
        if (typeof event?.type !== "string" || !event.data)
            event = undefined;
        from.heard = Date.now();
        if (!from.welcomed && event?.type === "connection.welcome") {
            from.welcomed = true;
            wait(from.transport);
            if (from === rival) {
                // From here on the stream is silent, and the socket asks for everything behind what the stream brought.
                if (line)
                    drop(line);
                core.cut();
                rival = undefined;
                line = from;
            }
        }
        if (from !== line)
            return;
        emit("frame", { text, event });
        if (event)
            core.take(event, !from.link?.send);
    };
    /** Tries a WebSocket again after a while, if that is the transport that is preferred. */
    const later = () => {
        if (usable[0] === "websocket")
            wait("upgrade", upgradeDelay, () => switchTo("websocket"));
    };
    const ended = (from, why) => {
        if (from === rival) {
            rival = undefined;
            later();
            return;
        }
        line = undefined;
        wait("pulse");
        core.cut();
        const { code, reason } = why;
        const unclear = !from.welcomed && code < 4000 && code !== 401 && code !== 403;
        const other = unclear && untried.shift();
        if (other) {
            line = open(other);
            return;
        }
        // An address without a stream is no reason to give up where there are sockets.
        const next = reconnect.next(unclear && usable[1] ? 1006 : code, farewell, Date.now(), Math.random(), renewable);
        if (!next)
            return stop({ phase: "failed", code, reason });
        const { attempt: count, delay, refresh } = next;
        enter({ phase: "reconnecting", attempt: count, retryAt: Date.now() + delay, code, reason });
        wait("retry", delay, () => attempt(count + 1, refresh));
    };
    const switchTo = (transport) => {
        if (!line?.welcomed)
            return;
        if (transport === "sse") {
            drop(line);
            core.cut();
            line = open(transport);
        }
        else if (!line.link?.send)
            rival ??= open(transport);
    };
    // Time
    /** The page is visible again, or the network is there again. */
    const wake = () => {
        // A server that said when to return is not asked earlier.
        if (document?.hidden || farewell)
            return;
        if (state.phase === "reconnecting") {
            wait("retry");
            attempt(state.attempt + 1);
        }
        else if (line?.welcomed)
            beat();
    };
    /** Is anybody there? A browser does not show the server's own pings to us. */
    const beat = () => {
        const here = line;
        if (here.link?.send && !document?.hidden && !asked) {
            const sent = (asked = Date.now());
            send("ping").then(() => {
                if (here !== line)
                    return;
                latency = Date.now() - sent;
                asked = 0;
                rate();
                wait("pulse", pingInterval, beat);
            }, () => { });
        }
        rate();
        // A stream has a comment every 15 s; a socket of a hidden page has heartbeats.
        if (Date.now() - here.heard >= (asked ? timeout : pingInterval * (here.link?.send ? 6 : 3)))
            here.lost("silence");
        else
            wait("pulse", asked ? timeout / 3 : pingInterval, beat);
    };
    /** Gets another token when four fifths of the time of this one are over. */
    const expire = (end, time) => {
        if (end && token)
            wait("token", (Date.parse(end) - Date.parse(time)) * 0.8, () => authorise(true)
                .then(([token]) => authenticate(token))
                // Where it does not work, the server says so when the old token expires, and the reconnect gets a fresh one.
                .catch(() => { }));
    };
    const authenticate = async (token, options) => {
        // The token of a stream is in its head.
        if (line?.link?.send)
            await send("authenticate", { token }, options);
        bearer = token;
        if (!line?.link?.send)
            switchTo("sse");
    };
    const core = session({
        send: sendText,
        event(event) {
            emit(event.type, event);
            if (!event.type.startsWith("connection."))
                emit("*", event);
        },
        gap: (gap) => emit("gap", gap),
        refused: (target) => emit("refused", target),
        welcome(welcome) {
            const { transport } = line;
            first = transport;
            asked = 0;
            reconnect.welcomed(Date.now());
            enter({ phase: "connected", transport, welcome });
            beat();
            expire(welcome.expires_at, welcome.server_time);
            wait("upgrade");
            if (transport === "sse")
                later();
        },
        farewell: (after) => (farewell = after),
        lost: (reason) => line?.lost(reason),
        // The targets of a stream are in its address: other targets are another stream. Changes of one moment are one.
        reopen: () => wait("reopen", 0, () => switchTo("sse")),
    }, options.targets ?? [], options.resume);
    return {
        get state() {
            return state;
        },
        get quality() {
            return quality;
        },
        get latency() {
            return latency;
        },
        get targets() {
            return core.wanted();
        },
        start() {
            if (line || outer?.aborted)
                return;
            stop();
            control = new AbortController();
            for (const name of ["online", "visibilitychange"])
                env.addEventListener?.(name, wake, control);
            outer?.addEventListener("abort", close, control);
            attempt(1);
        },
        close,
        async subscribe(targets, options) {
            const wanted = many(targets).map((target) => (typeof target === "string" ? { to: target } : target));
            const result = await call((answer) => core.subscribe(wanted, answer), options);
            const [refused] = result.refused;
            if (refused && result.refused.length === wanted.length)
                throw new EventwireError(refused.code, refused.message, result.refused);
            return result;
        },
        unsubscribe: (targets, options) => call((answer) => core.unsubscribe(many(targets), answer), options),
        send,
        sendText,
        authenticate,
        switchTo,
        checkpoint: core.checkpoint,
        on,
    };
}
/** A client that connects at once. */
export function connect(url, options) {
    const client = createClient(url, options);
    client.start();
    return client;
}
