/** How fast commands may go out, by the limits of the connection (LIMIT-02, LIMIT-12). Pure: the time is handed in. */

import type { ConnectionLimits } from "./events.js";

/** Two allowances that fill at a steady rate: of commands, and of the targets that they newly name. */
export function pacing() {
  /** When each is full again, the milliseconds of one, and those from empty to full. */
  let allowances: [at: number, each: number, most: number][] = [];
  return {
    /** A connection begins. What the server does not limit may go at once. */
    begin(limits: Partial<ConnectionLimits> = {}): void {
      allowances = (["command", "target"] as const).map((kind) => {
        const each = 1000 / (limits[`${kind}s_per_second`] ?? Infinity);
        // The network may push together what was sent apart, and the server counts what arrives: half of the burst is left to that.
        return [-1e9, each, each * Math.max((limits[`${kind}_burst`] ?? 0) / 2, 1)];
      });
    },
    /** The server takes nothing for so many milliseconds, and then no burst. */
    hold(ms: number, now: number): void {
      for (const allowance of allowances) allowance[0] = now + ms;
    },
    /** Takes one command that names so many new targets: 0, or the milliseconds until there is room. More than the burst counts as the burst. */
    take(targets: number, now: number): number {
      const after = allowances.map(([at, each, most], index) => Math.max(at, now - most) + Math.min((index ? targets : 1) * each, most));
      const ms = Math.ceil(Math.max(...after) - now);
      if (ms > 0) return ms;
      after.forEach((at, index) => (allowances[index]![0] = at));
      return 0;
    },
  };
}
