// A back end that takes commands from Eventwire and answers them with events. Node 18 or newer, nothing else.
//
//   node backend.mjs feed                      reads GET /v1/commands
//   node backend.mjs webhook PORT SECRET_FILE  is called by eventwire serve --commands-webhook http://127.0.0.1:PORT/
//
// It echoes chat turns of Monadic Chat and pretends to start workflows of ADW. A page that opens or asks anew is answered with
// apps, parameters and messages every time: a gateway that was restarted has none of them. EVENTWIRE_URL says where the server is,
// EVENTWIRE_TOKEN is an API key with the permissions publish and commands, where one is needed.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const BASE = process.env.EVENTWIRE_URL || 'http://127.0.0.1:4800';
const TOLERANCE_SECONDS = 300;

const headers = () =>
  process.env.EVENTWIRE_TOKEN ? { Authorization: `Bearer ${process.env.EVENTWIRE_TOKEN}` } : {};

/** Publishes events in order. Their ids make a second delivery of the same command harmless. */
async function publish(command, events) {
  const lines = events.map((event, at) => JSON.stringify({ ...event, id: `${command.id}.${at}` }));
  const answer = await fetch(new URL('/v1/events', BASE), {
    method: 'POST',
    headers: { ...headers(), 'Content-Type': 'application/x-ndjson' },
    body: lines.join('\n'),
  });
  // 422: none of them was taken. Sending them again would not help, so the command counts as done.
  if (!answer.ok && answer.status !== 422) throw new Error(`the answer to ${command.id} was met with ${answer.status}`);
}

/** What this application keeps of each session. A real one keeps it in its database. */
const sessions = new Map();
const APPS = { Echo: { display_name: 'Echo', group: 'Examples' } };

function kept(session) {
  if (!sessions.has(session)) sessions.set(session, { parameters: {}, messages: [] });
  return sessions.get(session);
}

/** How a session stands, for its pages: messages also when there are none, for unknown is not empty. */
function standing(session) {
  const { parameters, messages } = kept(session);
  const events = [{ type: 'chat.apps', to: session, data: { apps: APPS, version: '1.0.0', docker: false } }];
  if (Object.keys(parameters).length > 0) events.push({ type: 'chat.parameters', to: session, data: { parameters } });
  events.push({ type: 'chat.past_messages', to: session, data: { messages, from_initial_load: true } });
  return events;
}

/** The turns that go on, by the id of their command. A real application passes the signal to its model. */
const running = new Map();

/** What this application does with a command. */
async function handle(command) {
  const turn = new AbortController();
  running.set(command.id, turn);
  try {
    await answer(command, turn.signal);
  } finally {
    running.delete(command.id);
  }
}

async function answer(command, signal) {
  const own = `connection:${command.connection_id}`;
  const session = command.session_id ? `session:${command.session_id}` : own;
  if (command.name === 'CHAT') {
    const text = `You said: ${command.data.message ?? ''}`;
    const said = { lang: 'en', app_name: 'Echo', active: true };
    const question = { mid: `${command.id}.q`, role: 'user', text: command.data.message ?? '', html: '', ...said };
    const message = { mid: command.id, role: 'assistant', text, html: '', ...said };
    // One fragment here; between the fragments of a long answer, look at the signal.
    if (signal.aborted) return;
    // The same command may come twice.
    const { messages } = kept(session);
    if (!messages.some(({ mid }) => mid === message.mid)) messages.push(question, message);
    await publish(command, [
      { type: 'chat.user', to: session, data: { message: question } },
      { type: 'chat.fragment', to: session, data: { content: text, sequence: 0, is_first: true } },
      { type: 'chat.streaming_complete', to: session, data: {} },
      { type: 'chat.turn_finished', to: session, data: { finish_reason: 'stop' } },
      { type: 'chat.html', to: session, data: { message } },
    ]);
  } else if (command.name === 'CHECK_TOKEN') {
    const verified = { token: '', content: 'Connected', ai_user_initial_prompt: '' };
    await publish(command, [{ type: 'chat.token_verified', to: own, data: verified }, ...standing(session)]);
  } else if (command.name === 'LOAD') {
    await publish(command, standing(session));
  } else if (command.name === 'UPDATE_PARAMS') {
    Object.assign(kept(session).parameters, command.data.params);
  } else if (command.name === 'RESET') {
    sessions.delete(session);
  } else if (command.name === 'DELETE') {
    kept(session).messages = kept(session).messages.filter(({ mid }) => mid !== command.data.mid);
  } else if (command.name === 'CANCEL') {
    // Exactly these: a turn that is newer than the cancellation is not among them.
    for (const id of command.cancels?.in_work ?? []) running.get(id)?.abort();
    await publish(command, [{ type: 'chat.cancel', to: session, data: {} }]);
  } else if (command.name === 'trigger_workflow') {
    const workflow_name = command.data.workflow_type;
    const adw_id = command.data.adw_id ?? '29fb6a3e';
    await publish(command, [
      { type: 'adw.trigger_response', to: own,
        data: { status: 'accepted', message: 'Started', adw_id, workflow_name } },
      { type: 'adw.workflow_phase_transition', to: `adw:${adw_id}`, data: { adw_id, phase_to: 'plan', workflow_name } },
    ]);
  }
}

/** Reads commands and acknowledges each one when it is done. */
async function readFeed() {
  for (;;) {
    try {
      const stream = await fetch(new URL('/v1/commands?group=default', BASE), { headers: headers() });
      if (!stream.ok) throw new Error(`GET /v1/commands: ${stream.status}`);
      console.log('reading');
      let text = '';
      for await (const piece of stream.body.pipeThrough(new TextDecoderStream())) {
        const blocks = (text + piece).split('\n\n');
        text = blocks.pop();
        for (const block of blocks) {
          const data = block.split('\n').find((line) => line.startsWith('data: '));
          // Not waited for: a later CANCEL comes while this goes on.
          if (data) carryOut(JSON.parse(data.slice(6)));
        }
      }
    } catch (error) {
      console.error(error.message);
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

async function carryOut(command) {
  try {
    await handle(command);
    const done = new URL(`/v1/commands/${encodeURIComponent(command.id)}/ack?group=default`, BASE);
    await fetch(done, { method: 'POST', headers: headers() });
  } catch (error) {
    // Not acknowledged: it comes again.
    console.error(error.message);
  }
}

/** Whether a request was signed with the secret, a moment ago. */
export function isOurs(secret, headers, body) {
  const id = headers['eventwire-id'];
  const timestamp = headers['eventwire-timestamp'];
  if (!(Math.abs(Date.now() / 1_000 - Number(timestamp)) <= TOLERANCE_SECONDS)) return false;
  const expected = createHmac('sha256', secret).update(`${id}.${timestamp}.`).update(body).digest('hex');
  const [given, wanted] = [headers['eventwire-signature'] ?? '', `v1=${expected}`].map((text) => Buffer.from(text));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

function takeWebhook(port, secret) {
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    if (!isOurs(secret, request.headers, body)) return response.writeHead(401).end();
    try {
      await handle(JSON.parse(body));
      response.writeHead(204).end();
    } catch (error) {
      console.error(error.message);
      response.writeHead(503).end();
    }
  });
  server.listen(port, '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
}

const [how, port, secretFile] = process.argv.slice(2);
if (how === 'feed') readFeed();
else if (how === 'webhook') takeWebhook(Number(port), readFileSync(secretFile, 'utf8').trim());
