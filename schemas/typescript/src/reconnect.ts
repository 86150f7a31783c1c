/** When to connect again, and when not to. Pure: randomness and the time are handed in. The table is that of rule WS-05. */

/** How long to wait between attempts. Full jitter, so that clients that lost the server together do not return together. */
export interface Backoff {
  /** Upper bound of the first wait in milliseconds; doubles with every attempt that fails. 500 unless set. */
  minDelay?: number;
  /** Upper bound of every wait in milliseconds. 30,000 unless set. */
  maxDelay?: number;
  /** Attempts in a row before the client gives up and is `failed`. No end unless set. */
  maxAttempts?: number;
  /**
   * A connection that lasted so many milliseconds was a good one: the count begins again, and a refused token is renewed again.
   * 10,000 unless set. The count also begins again after a connection that delivered an event, or lasted longer than the wait
   * before it.
   */
  stableAfter?: number;
}

/** How a connection, or the attempt to make one, ended: a close code, or the HTTP status of a refusal. */
export interface Ended {
  code: number;
  reason: string;
}

/** What follows an end: another attempt after `delay` milliseconds, or with nothing none. */
export type Next = { attempt: number; delay: number; refresh: boolean } | undefined;

/** What a client does after a close code, or below 1000 an HTTP status. A code that is not in the table says nothing about us. */
export function after(code: number): "retry" | "refresh" | "stop" {
  // A number is tested as its digits.
  const is = (table: RegExp) => table.test(code as unknown as string);
  return is(/^40{0,2}1$/) ? "refresh" : is(/^([34]..|100[0278]|400[039])$/) && !is(/^4(08|29)$/) ? "stop" : "retry";
}

/** The policy with its count. */
export function reconnecting({ minDelay = 500, maxDelay = 30_000, maxAttempts = Infinity, stableAfter = 10_000 }: Backoff) {
  let attempt = 0;
  let refreshed = false;
  let since = Infinity;
  let waited = 0;
  let worked = false;
  return {
    /** The server has welcomed us. */
    welcomed(now: number): void {
      since = Math.min(since, now);
    },
    /** An event of the application came. */
    delivered(): void {
      worked = true;
    },
    /**
     * The connection, or the attempt, has ended. `wait`: the server asked for so many milliseconds, or (-1) that nobody comes
     * back. `random` is from 0 to below 1. `renewable` says whether there are other tokens.
     */
    next(code: number, wait: number | undefined, now: number, random: number, renewable: boolean): Next {
      const lasted = now - since;
      if (lasted >= stableAfter) refreshed = false;
      if (worked || lasted >= Math.min(waited, stableAfter)) attempt = 0;
      since = Infinity;
      worked = false;
      const then = after(code);
      // A token that was fetched a moment ago and is refused as well will not get better.
      const refresh = then === "refresh" && renewable && !refreshed;
      if (!refresh && (then !== "retry" || wait === -1 || attempt >= maxAttempts)) return undefined;
      refreshed ||= refresh;
      const delay = refresh ? 0 : (wait ?? random * Math.min(maxDelay, minDelay * 2 ** attempt));
      waited = delay;
      return { attempt: ++attempt, delay, refresh };
    },
  };
}
