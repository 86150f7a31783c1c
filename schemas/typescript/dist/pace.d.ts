/** How fast commands may go out, by the limits of the connection (LIMIT-02, LIMIT-12). Pure: the time is handed in. */
import type { ConnectionLimits } from "./events.js";
/** Two allowances that fill at a steady rate: of commands, and of the targets that they newly name. */
export declare function pacing(): {
    /** A connection begins. What the server does not limit may go at once. */
    begin(limits?: Partial<ConnectionLimits>): void;
    /** The server takes nothing for so many milliseconds, and then no burst. */
    hold(ms: number, now: number): void;
    /** Takes one command that names so many new targets: 0, or the milliseconds until there is room. More than the burst counts as the burst. */
    take(targets: number, now: number): number;
};
