// Time that a test moves: timers, elapsed time (`performance.now`) and the wall clock, which may also move by itself.

import { mock } from "node:test";

export function clocks(wall = 1_800_000_000_000) {
  let elapsed = 5_000;
  mock.timers.enable({ apis: ["setTimeout"] });
  const mocks = [mock.method(performance, "now", () => elapsed), mock.method(Date, "now", () => wall)];
  return {
    /** Lets time pass, in steps, so that a timer that sets another one is on time, and what follows from it happens. */
    async tick(ms) {
      for (let left = ms; left > 0; left -= 100) {
        const step = Math.min(left, 100);
        elapsed += step;
        wall += step;
        mock.timers.tick(step);
        for (let turn = 0; turn < 10; turn += 1) await null;
      }
    },
    /** Sets the wall clock forward, or back. */
    set(ms) {
      wall += ms;
    },
    /** The machine sleeps: no timer runs. Whether elapsed time goes on depends on the system. */
    sleep(ms, goesOn) {
      wall += ms;
      if (goesOn) elapsed += ms;
    },
    restore() {
      mock.timers.reset();
      for (const each of mocks) each.mock.restore();
    },
  };
}
