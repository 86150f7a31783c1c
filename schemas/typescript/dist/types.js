/** The words that the client and its application share. Types only. */
/** Everything that goes wrong with a call. */
export class EventwireError extends Error {
    name = "EventwireError";
    /** What went wrong, for programs. */
    code;
    /** What the server said about it: `retryable`, `retry_after_ms`, `details`; for `subscribe` the refused targets. */
    details;
    constructor(code, message = code, details) {
        super(message);
        this.code = code;
        this.details = details;
    }
}
