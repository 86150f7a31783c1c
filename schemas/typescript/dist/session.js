/**
 * What a client remembers over all of its connections: which targets it wants, how far it has read each of them, and which of
 * its commands are unanswered. No socket, no clock, no randomness: frames go in, and what follows from them goes to the `Sink`.
 *
 * A position belongs to a root (`adw:x`, `global`, `*`), because the frames of a root come in the order of their numbers. That
 * one number is enough to resume, and everything at or below it is a duplicate. Holes are looked for in each exact stream,
 * since `prev` chains the frames of one stream: a `prev` above the last number seen there names something that never came.
 */
/** Most streams whose last number is kept for finding holes. An observer of a large realm forgets the quietest. */
const MAX_STREAMS = 4096;
/** Most targets in one command. */
const MAX_TARGETS = 256;
/** What the query of an SSE stream has words for. A browser session comes with its cookie. */
const SPEAKABLE = /^(\*|(adw|room|session):[\w.:@-]+)$/;
const STREAM = "sse";
const rootOf = (to) => to.split("/", 1)[0];
export function session(sink, targets, resume = { positions: {} }) {
    let { epoch } = resume;
    let live = false;
    /** Whether the connection is an SSE stream, and where that begins. */
    let stream = false;
    let cursor;
    let lastId = 0;
    const readings = new Map();
    /** Exact stream to its last number, the quietest first. */
    const streams = new Map();
    const pending = new Map();
    const watchers = new Set();
    const read = (root) => {
        let reading = readings.get(root);
        if (!reading)
            readings.set(root, (reading = {}));
        return reading;
    };
    const want = (root) => Object.assign(read(root), { wanted: true, named: true, under: false });
    const named = () => [...readings].filter(([, reading]) => reading.named);
    const wanted = () => named().flatMap(([root, reading]) => (reading.wanted ? root : []));
    const forgetStreams = (root) => {
        for (const stream of streams.keys())
            if (root === "*" || rootOf(stream) === root)
                streams.delete(stream);
    };
    const forget = (root) => {
        readings.delete(root);
        forgetStreams(root);
    };
    const hole = (stream, last, upto) => sink.gap({ stream, reason: "hole", from_seq: last + 1, to_seq: upto });
    // Commands
    const answer = (re, answer) => {
        const command = pending.get(re ?? "");
        pending.delete(re ?? "");
        command?.call(answer);
    };
    const flush = () => {
        for (const [id, command] of pending) {
            const { type, data, sent } = command;
            if (sent)
                continue;
            command.sent = true;
            if (stream)
                answer(id, "needs_websocket");
            else
                sink.send(JSON.stringify({ type, id, data }));
        }
    };
    /** Asks for what this connection was not asked for: in one command, or as few as its limit allows. */
    const ask = () => {
        const missing = named().filter(([root, { asked }]) => !asked && (!stream || SPEAKABLE.test(root)));
        if (stream && missing[0])
            sink.reopen();
        for (let from = 0; !stream && from < missing.length; from += MAX_TARGETS) {
            const id = `${++lastId}`;
            const streams = missing.slice(from, from + MAX_TARGETS).map(([to, reading]) => {
                const since = reading.at;
                reading.asked = id;
                reading.open = true;
                reading.deaf = since !== undefined;
                return { to, since };
            });
            sink.send(JSON.stringify({ type: "subscribe", id, data: { epoch, streams } }));
        }
        // Calls whose targets are all decided.
        for (const watcher of watchers) {
            const { targets, refused, call } = watcher;
            if (!live || targets.some((to) => (readings.get(to)?.open ?? false) || missing.some(([root]) => root === to)))
                continue;
            watchers.delete(watcher);
            call({ refused });
        }
    };
    /** Something that was asked for does not come. */
    const turnDown = (target, keep) => {
        const { to } = target;
        for (const { targets, refused } of watchers)
            if (targets.includes(to))
                refused.push(target);
        if (readings.get(to)?.wanted)
            sink.refused(target);
        if (!keep)
            forget(to);
    };
    const command = (type, data, call) => {
        const id = `${++lastId}`;
        pending.set(id, { type, data, call });
        if (live)
            flush();
        return () => pending.delete(id);
    };
    // Frames
    const welcomed = (welcome) => {
        const { user_id: user, session_id: home } = welcome;
        const other = epoch && epoch !== welcome.epoch;
        live = true;
        epoch = welcome.epoch;
        sink.welcome(welcome);
        if (other) {
            // Nothing of what was read says anything about the new history: read it from its beginning.
            streams.clear();
            for (const [root, reading] of readings) {
                if (!reading.named)
                    readings.delete(root);
                else if (reading.at !== undefined) {
                    reading.at = 0;
                    sink.gap({ stream: root, reason: "epoch_changed" });
                }
            }
        }
        // What comes without asking is subscribed as well, since only what is subscribed resumes. An observer is no exception: the
        // server keeps these apart from everything else it observes, so their frames have an order of their own.
        for (const root of ["global", user && `user:${user}`, home && `session:${home}`]) {
            if (!root)
                continue;
            const reading = read(root);
            reading.named = true;
            if (stream)
                reading.open = false;
        }
        if (stream) {
            const [head, ...places] = (cursor ?? "").split(",");
            // A cursor of another history says nothing about this one.
            for (const [root, reading] of readings)
                reading.at ??= head.startsWith(epoch) ? +(places.find((place) => place.startsWith(root + "=")) ?? head).replace(/.*[-=]/, "") : 0;
        }
        else
            ask();
        flush();
    };
    const unlogged = (event) => {
        // Only the members of the `connection` family mean something here.
        const { re, stream: name } = event.data;
        const reading = readings.get(name ?? "") ?? {};
        const { type } = event;
        if (type === "connection.welcome")
            welcomed(event.data);
        if (type === "connection.subscribed") {
            for (const { to, head } of event.data.streams) {
                const reading = readings.get(to);
                // It was unsubscribed while the stream was opened.
                if (!reading && stream)
                    sink.reopen();
                // It may have been asked for anew meanwhile, from another place: that is answered later.
                if (reading?.asked !== (stream ? STREAM : re))
                    continue;
                Object.assign(reading, { open: false, deaf: false, heard: undefined, at: reading?.at ?? head });
            }
            for (const target of event.data.refused)
                turnDown(target);
            if (stream) {
                for (const [to, reading] of named()) {
                    if (SPEAKABLE.test(to) || !reading.open)
                        continue;
                    reading.open = false;
                    turnDown({ to, code: "unavailable", message: "needs a WebSocket" }, true);
                }
            }
            ask();
        }
        if (type === "connection.unsubscribed")
            for (const { to } of event.data.streams)
                unsubscribed(to);
        if (type === "connection.error") {
            const { code, message, retryable } = event.data;
            for (const [to, { asked }] of named()) {
                if (!re || asked !== re)
                    continue;
                // Without its targets the connection would look alive and stay silent.
                if (retryable)
                    return sink.lost(message);
                turnDown({ to, code, message });
            }
            ask();
        }
        if (type === "connection.gap") {
            const { reason, to_seq = 0 } = event.data;
            const changed = reason === "epoch_changed";
            if (changed) {
                forgetStreams(name);
                reading.at = 0;
            }
            else if ((streams.get(name) ?? Infinity) < to_seq)
                streams.set(name, to_seq);
            // Of a stream that begins under another epoch the welcome told already. A reason of a later version is the most general.
            if (!changed || !stream)
                sink.gap({ ...event.data, reason: (/^(slow|epoch)_/.test(reason) ? reason : "expired") });
        }
        if (type === "connection.replaying")
            Object.assign(reading, { behind: true, heard: undefined });
        if (type === "connection.recovered")
            Object.assign(reading, { behind: false, at: Math.max(reading.at ?? 0, event.data.upto) });
        // How far each target was sent comes in order with the frames, so being behind means that a tail is lost. What the first
        // heartbeat of a target says may be the reach of the log where it was subscribed, above its last event; a number that grew
        // since names an event.
        if (type === "connection.heartbeat") {
            for (const { to, seq } of event.data.positions) {
                const reading = readings.get(to);
                if (!reading || reading.behind)
                    continue;
                const { heard = seq, at = seq } = reading;
                reading.heard = seq;
                if (heard >= seq || at >= seq)
                    continue;
                reading.at = seq;
                hole(to, at, seq);
            }
        }
        if (type === "connection.closing")
            sink.farewell(event.data.reconnect_after_ms ?? -1);
        answer(re, event);
    };
    const unsubscribed = (root) => {
        const reading = readings.get(root);
        // What is observed comes under `*` from where it is.
        if (reading && root !== "*" && readings.has("*"))
            Object.assign(reading, { wanted: false, under: true });
        else
            forget(root);
        if (root === "*")
            for (const [other, { under }] of readings)
                if (under)
                    forget(other);
    };
    for (const [root, at] of Object.entries(resume.positions))
        want(root).at = at;
    targets.forEach(want);
    return {
        wanted,
        command,
        /** How far everything wanted was read. */
        checkpoint() {
            return JSON.parse(JSON.stringify({ epoch, positions: Object.fromEntries(named().map(([root, { at }]) => [root, at])) }));
        },
        /** How many commands wait for a connection. */
        queued: () => [...pending.values()].filter(({ sent }) => !sent).length,
        /** Wants targets, and says so as soon as there is a connection. Returns the function after which nobody waits for it. */
        subscribe(wishes, call) {
            const watcher = { targets: wishes.map(({ to }) => to), refused: [], call };
            watchers.add(watcher);
            for (const { to, since } of wishes) {
                const reading = want(to);
                if (since === undefined)
                    continue;
                // The application asks to read from here: what it has behind it is no duplicate.
                forgetStreams(to);
                Object.assign(reading, { at: since, asked: undefined, deaf: true });
            }
            if (live)
                ask();
            return () => watchers.delete(watcher);
        },
        /** No longer wants targets. */
        unsubscribe(roots, call) {
            roots.forEach(unsubscribed);
            if (live && !stream)
                return command("unsubscribe", { streams: roots.map((to) => ({ to })) }, call);
            if (live)
                sink.reopen();
            call({ refused: [] });
            return () => { };
        },
        /** An SSE stream is about to be the connection: the query to open it with. */
        query() {
            const names = {};
            const all = named();
            // One position for all, and those that differ: the form of a cursor is rule SSE-08. Of a target that has no position yet,
            // from now on means: from the last number that is known of any.
            const low = Math.max(0, ...all.map(([, { at }]) => at ?? 0));
            let place = `${epoch}-${low}`;
            cursor = undefined;
            for (const [root, reading] of all) {
                // Without an epoch there is no cursor. The stream is opened once more as soon as it has named one.
                reading.open = true;
                reading.deaf = !epoch && reading.at !== undefined;
                reading.asked = reading.deaf ? undefined : STREAM;
                if (epoch && (reading.at ??= low) !== low)
                    place += `,${root}=${reading.at}`;
                const [kind, id] = root.split(/:(.*)/s);
                if (SPEAKABLE.test(root))
                    (names[id ? kind.replace("session", "context") : "observe"] ??= []).push(id ?? "1");
            }
            // The lists join themselves with commas.
            const query = new URLSearchParams(names);
            if (epoch)
                query.set("cursor", place);
            return `${query}`;
        },
        /** The SSE stream says where it begins. */
        begin(id) {
            cursor ??= id;
        },
        /** The connection is gone. Commands that were sent are answered, with `end` all calls; targets are asked for again. */
        cut(end) {
            live = false;
            for (const reading of readings.values())
                Object.assign(reading, { asked: undefined, heard: undefined, open: false, behind: false, deaf: false });
            for (const [id, { sent, type }] of pending)
                if (sent || end)
                    answer(id, end ?? (type === "unsubscribe" ? { refused: [] } : "disconnected"));
            if (!end)
                return;
            for (const { call } of watchers)
                call(end);
            watchers.clear();
        },
        /** Takes one frame of the server. `sse`: whether it came over a stream, and not over a WebSocket. */
        take(frame, sse) {
            stream = sse;
            const { to, seq, prev = 0 } = frame;
            if (seq) {
                // Whose position a frame moves: that of its own root where it is read by itself, else that of the realm.
                const root = rootOf(to);
                const reading = readings.get(root) ?? readings.get("*") ?? read(root);
                if (reading.deaf || seq <= (reading.at ?? 0))
                    return;
                reading.at = seq;
                const last = streams.get(to) ?? prev;
                streams.delete(to);
                streams.set(to, seq);
                if (streams.size > MAX_STREAMS)
                    streams.delete(streams.keys().next().value);
                if (last < prev)
                    hole(to, last, prev);
            }
            else
                unlogged(frame);
            sink.event(frame);
        },
    };
}
