/** Publishing over HTTP: one event or many, with an outcome for each, and never twice. For back ends in Node; no WebSocket. */
import { EventwireError } from "./index.js";
/** Most events in one request (HTTP-05). */
export const MAX_ITEMS = 1_000;
/** Most bytes in one request (HTTP-05). */
export const MAX_BYTES = 8 * 1024 * 1024;
/** Most bytes of one event (LIMIT-01). */
export const MAX_EVENT_BYTES = 1024 * 1024;
const encoder = new TextEncoder();
const LONE = /\p{Surrogate}/gu;
const wellFormed = (text) => text.replace(LONE, "\ufffd");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const invalid = (message) => new EventwireError("invalid_payload", message);
/**
 * The JSON of an event. U+FFFD takes the place of each half of a surrogate pair in a text, as the server would put it; a key that
 * has one is refused, for two keys could become one (ENV-06).
 */
function encode(event) {
    const text = JSON.stringify(event, (_key, value) => {
        if (typeof value === "string")
            return wellFormed(value);
        if (typeof value === "number" && !Number.isFinite(value))
            throw invalid(`${value} is no number of JSON`);
        if (value !== null && typeof value === "object" && !Array.isArray(value)) {
            const key = Object.keys(value).find((key) => wellFormed(key) !== key);
            if (key !== undefined)
                throw invalid(`the key ${JSON.stringify(key)} has half a surrogate pair: send the whole key`);
        }
        return value;
    });
    const bytes = encoder.encode(text);
    if (bytes.length > MAX_EVENT_BYTES)
        throw new EventwireError("too_large", `an event of ${bytes.length} bytes is over the limit of ${MAX_EVENT_BYTES}; it was not sent`);
    return bytes;
}
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** The error of a body, as the server writes it. */
function refusal(error, status) {
    if (!isRecord(error) || typeof error["code"] !== "string" || typeof error["message"] !== "string")
        return undefined;
    return new EventwireError(error["code"], error["message"], status === undefined ? error : { ...error, status });
}
const member = (error, name) => (isRecord(error.details) ? error.details[name] : undefined);
const isRetryable = (outcome) => outcome instanceof EventwireError && (member(outcome, "retryable") === true || ["rate_limited", "unavailable", "timeout"].includes(outcome.code));
const retryAfter = (error) => {
    const wait = member(error, "retry_after_ms");
    return typeof wait === "number" ? wait : 0;
};
/** Reads an answer to `batch`, and adds to `evicted` what it names. */
async function read(response, batch, evicted) {
    const foreign = () => new EventwireError("foreign", `an answer with status ${response.status} that no Eventwire server writes`, { status: response.status });
    let body;
    try {
        body = JSON.parse(await response.text());
    }
    catch (error) {
        if (error instanceof SyntaxError)
            return foreign();
        throw error;
    }
    if (!isRecord(body))
        return foreign();
    const whole = refusal(body["error"], response.status);
    if (whole)
        return whole;
    const results = body["results"];
    if (!Array.isArray(results) || results.length !== batch.length)
        return foreign();
    const outcomes = [];
    for (const [at, { receipt }] of batch.entries()) {
        const result = results[at];
        if (!isRecord(result))
            return foreign();
        if (result["error"] !== undefined) {
            const refused = refusal(result["error"]);
            if (!refused)
                return foreign();
            outcomes.push(refused);
        }
        else
            outcomes.push(typeof result["seq"] === "number" ? { ...receipt, seq: result["seq"] } : receipt);
    }
    const gone = body["evicted"];
    if (isRecord(gone))
        for (const name of ["newest_values", "ids"])
            evicted[name] += Number(gone[name]) || 0;
    return outcomes;
}
/** Whether a request that failed without an answer never reached a server. */
function neverArrived(error) {
    const cause = error instanceof Error ? error.cause : undefined;
    const code = isRecord(cause) || cause instanceof Error ? cause.code : undefined;
    return ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT"].includes(String(code));
}
/**
 * Publishes events in the order of the calls. What waits while a request is under way goes together in the next one.
 *
 * ```ts
 * const publisher = new Publisher("http://127.0.0.1:4800", { token });
 * await publisher.publish({ type: "adw.text_block", to: "adw:29fb6a3e", data: { adw_id: "29fb6a3e", content: "Hello" } });
 * ```
 *
 * Every event gets an id before it is sent, so that a request whose answer was lost is repeated without publishing twice. What
 * fails for a reason that passes (no connection, a lost answer, 429, 503) is repeated with backoff.
 */
export class Publisher {
    #url;
    #options;
    #waiting = [];
    #waitingBytes = 0;
    #running;
    #token;
    #closed = false;
    #evicted = { newest_values: 0, ids: 0 };
    /** `url` is the address of the gateway, such as `http://127.0.0.1:4800`; a path before `/v1` is kept. */
    constructor(url, options = {}) {
        const address = new URL(url);
        if (!/^https?:$/.test(address.protocol))
            throw new TypeError(`the address of a publisher begins with http:// or https://, and this is ${url}`);
        this.#url = `${address.origin}${address.pathname.replace(/\/+$/, "")}/v1/events`;
        this.#options = options;
    }
    /**
     * Publishes one event. Resolves when the server has taken it. Rejects with {@link EventwireError}: a code of the server;
     * `unreachable`; `unanswered`, where it may have been published; `foreign`, where another program answers; `queue_full`; `closed`.
     */
    async publish(event) {
        const outcome = await this.#enqueue(event);
        if (outcome instanceof EventwireError)
            throw outcome;
        return outcome;
    }
    /** Publishes several events in their order; the outcome of each is in its place. One that is refused stops no other. */
    publishAll(events) {
        return Promise.all(Array.from(events, (event) => this.#enqueue(event)));
    }
    /** How many entries the server dropped before their time since this publisher was made. */
    get evicted() {
        return { ...this.#evicted };
    }
    /** Resolves when nothing waits any more. */
    async flush() {
        while (this.#running)
            await this.#running;
    }
    /** Takes no further event, and resolves when those that wait have their outcomes. */
    close() {
        this.#closed = true;
        return this.flush();
    }
    #enqueue(event) {
        return new Promise((settle) => {
            const { waiting, refused } = this.#prepare(event, settle);
            if (!waiting)
                return settle(refused);
            this.#waiting.push(waiting);
            this.#waitingBytes += waiting.bytes.length;
            // Begins behind the calls of this tick, which then share a request.
            this.#running ??= Promise.resolve().then(() => this.#run());
        });
    }
    #prepare(event, settle) {
        if (this.#closed)
            return { refused: new EventwireError("closed", "this publisher was closed") };
        const id = event.id ?? crypto.randomUUID();
        let bytes;
        try {
            bytes = encode({ ...event, id });
        }
        catch (error) {
            return { refused: error instanceof EventwireError ? error : invalid(`this event is no JSON: ${error instanceof Error ? error.message : error}`) };
        }
        if (this.#waitingBytes + bytes.length > (this.#options.maxWaitingBytes ?? 64 << 20)) {
            return { refused: new EventwireError("queue_full", `${this.#waitingBytes} bytes of events wait already`) };
        }
        return { waiting: { receipt: { type: event.type, to: event.to, id }, bytes, settle } };
    }
    async #run() {
        for (let batch = this.#next(); batch.length; batch = this.#next()) {
            const result = await this.#attempts(batch);
            for (const [at, { bytes, settle }] of batch.entries()) {
                this.#waitingBytes -= bytes.length;
                settle(result instanceof EventwireError ? result : result[at]);
            }
        }
        this.#running = undefined;
    }
    /** Takes the events of the next request. */
    #next() {
        let size = 2;
        let count = 0;
        for (const { bytes } of this.#waiting) {
            if (count === MAX_ITEMS || (count && size + bytes.length + 1 > MAX_BYTES))
                break;
            size += bytes.length + 1;
            count += 1;
        }
        return this.#waiting.splice(0, count);
    }
    /** Sends a batch until it is answered for good, always the same bytes with the same ids. */
    async #attempts(batch) {
        const { minDelay = 250, maxDelay = 10_000, maxAttempts = 6 } = this.#options.backoff ?? {};
        const parts = batch.map(({ bytes }) => bytes);
        const body = new Uint8Array(parts.reduce((sum, part) => sum + part.length + 1, 1));
        let at = 0;
        for (const part of parts) {
            body[at] = at ? 0x2c : 0x5b;
            body.set(part, at + 1);
            at += part.length + 1;
        }
        body[at] = 0x5d;
        let mayHaveArrived = false;
        let refreshed = false;
        for (let failed = 1;; failed += 1) {
            let result;
            let wait = 0;
            let again;
            try {
                const response = await this.#post(body);
                result = await read(response, batch, this.#evicted);
                if (result instanceof EventwireError && result.code === "unauthorized" && typeof this.#options.token === "function" && !refreshed) {
                    refreshed = true;
                    this.#token = undefined;
                    failed -= 1;
                    continue;
                }
                if (!(result instanceof EventwireError)) {
                    const refused = result.filter(isRetryable);
                    again = refused.length > 0;
                    wait = Math.max(0, ...refused.map(retryAfter));
                }
                else if (result.code === "foreign") {
                    // A proxy whose server is away.
                    again = [429, 502, 503, 504].includes(response.status);
                    mayHaveArrived ||= response.status === 502 || response.status === 504;
                }
                else {
                    again = isRetryable(result);
                    wait = retryAfter(result);
                }
                const header = response.headers.get("retry-after") ?? "";
                if (again && /^\d+$/.test(header))
                    wait = Math.max(wait, Number(header) * 1_000);
            }
            catch (error) {
                if (error instanceof EventwireError) {
                    // The token could not be had.
                    result = error;
                    again = false;
                }
                else {
                    const arrived = !neverArrived(error);
                    mayHaveArrived ||= arrived;
                    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : error;
                    result = arrived ? new EventwireError("unanswered", `the answer was lost: ${cause}`) : new EventwireError("unreachable", `the server cannot be reached: ${cause}`);
                    again = true;
                }
            }
            if (!again || failed > maxAttempts) {
                const ours = result instanceof EventwireError && (result.code === "unreachable" || result.code === "foreign");
                return ours && mayHaveArrived ? new EventwireError("unanswered", `${result.message}; an earlier request may have arrived`) : result;
            }
            await sleep(Math.max(wait, Math.random() * Math.min(maxDelay, minDelay * 2 ** (failed - 1))));
        }
    }
    async #post(body) {
        const { token, timeout = 30_000 } = this.#options;
        if (token !== undefined && this.#token === undefined) {
            try {
                this.#token = (typeof token === "string" ? token : await token()).trim();
            }
            catch (error) {
                throw new EventwireError("unauthorized", `the token could not be had: ${error instanceof Error ? error.message : error}`);
            }
        }
        const headers = { "content-type": "application/json" };
        if (this.#token)
            headers["authorization"] = `Bearer ${this.#token}`;
        return (this.#options.fetch ?? fetch)(this.#url, { method: "POST", headers, body, redirect: "manual", signal: AbortSignal.timeout(timeout) });
    }
}
