// What a back end of Product Demo calls to reach its pages through Eventwire. Node 18 or newer, nothing else; copy this file.
//
//   import { setupWebSocketServer } from './eventwire.mjs';
//   const wsServer = setupWebSocketServer(server);
//   wsServer.broadcast(userId, { type: 'document_status', documentId, status: 'PROCESSING', progress: 30 });
//   wsServer.broadcastAll({ type: 'user_activity', userId, username, action: 'viewing_document' });
//
// The pages connect to Eventwire, so the server that is passed in is left alone. Both methods give a promise, which nobody
// has to wait for: true when the event was taken, false otherwise. It never fails, and what was not taken after two seconds
// never will be. Events go out one after the other, in the order of the calls. EVENTWIRE_URL says where the server is,
// EVENTWIRE_TOKEN is the API key where one is needed.

const TIMEOUT_MS = 2_000;
const DEFAULT_URL = 'http://127.0.0.1:4800';

export function setupWebSocketServer(_server) {
  const url = new URL('/v1/events?dialect=product', process.env.EVENTWIRE_URL || DEFAULT_URL);
  let last = Promise.resolve(false);

  const publish = (to, data) => {
    const end = Date.now() + TIMEOUT_MS;
    last = last.then(() => post(url, to, data, end - Date.now()));
    return last;
  };

  return {
    /** An event for all connections of one user. */
    broadcast: (userId, data) => publish(`user:${userId}`, data),
    /** An event for everybody. What belongs to one user is refused here. */
    broadcastAll: (data) => publish('global', data),
  };
}

async function post(url, to, data, milliseconds) {
  if (milliseconds <= 0) return false;
  try {
    const headers = { 'Content-Type': 'application/json', 'Eventwire-To': to };
    if (process.env.EVENTWIRE_TOKEN) headers.Authorization = `Bearer ${process.env.EVENTWIRE_TOKEN}`;
    const signal = AbortSignal.timeout(milliseconds);
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(data), signal, redirect: 'error' });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}
