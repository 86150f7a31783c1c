// A TCP proxy between client and gateway that does to a connection what networks do.

import net from "node:net";

export async function proxy(target) {
  const port = () => (typeof target === "function" ? target() : target);
  const open = new Set();
  /** pass; refuse (reset at once); hole (accept, and nothing comes through in either direction); */
  let mode = { kind: "pass" };
  let connections = 0;
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    connections += 1;
    near.on("error", () => {});
    if (mode.kind === "refuse") return near.resetAndDestroy();
    const far = net.connect({ port: port(), host: "127.0.0.1", allowHalfOpen: true });
    const pair = { near, far, passed: 0, deaf: mode.kind === "hole" };
    open.add(pair);
    const end = () => {
      open.delete(pair);
      near.destroy();
      far.destroy();
    };
    far.on("error", end);
    near.on("close", end);
    far.on("close", end);
    near.on("data", (piece) => pair.deaf || far.write(piece));
    near.on("end", () => pair.deaf || far.end());
    far.on("end", () => pair.deaf || near.end());
    far.on("data", (piece) => {
      if (pair.deaf) return;
      const { kind, after, ms } = mode;
      if (kind === "cut after") {
        const left = after - pair.passed;
        pair.passed += piece.length;
        if (piece.length < left) near.write(piece);
        // In the middle of whatever it is: a frame, a line, a character.
        else near.write(piece.subarray(0, Math.max(0, left)), end);
      } else if (kind === "hold") {
        // A proxy that buffers: the head of an answer passes, its body stays.
        if (pair.headed) return;
        const end = piece.indexOf("\r\n\r\n");
        pair.headed = end >= 0;
        near.write(pair.headed ? piece.subarray(0, end + 4) : piece);
      } else if (kind === "end after") {
        pair.timer ??= setTimeout(() => near.end(), ms);
        near.destroyed || near.writableEnded || near.write(piece);
      } else if (kind === "delay") setTimeout(() => near.destroyed || near.write(piece), ms);
      else near.write(piece);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    get connections() {
      return connections;
    },
    /** How connections are treated from now on, also those that are open (except that a hole takes only what is open or new). */
    set(next) {
      mode = next;
      if (next.kind === "hole") for (const pair of open) pair.deaf = true;
    },
    /** Resets every open connection. */
    cut() {
      for (const { near, far } of open) {
        near.resetAndDestroy();
        far.destroy();
      }
    },
    /** The server's side of every open connection is gone, and the client is not told. */
    halfOpen() {
      for (const pair of open) {
        pair.deaf = true;
        pair.far.removeAllListeners("close").destroy();
      }
    },
    async close() {
      for (const { near, far } of open) {
        near.destroy();
        far.destroy();
      }
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
