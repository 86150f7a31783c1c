// Real tools on asyncapi.json and openapi.json as they are committed: a parser, a linter, and a generator whose output is
// type-checked with code that uses it as a back end would.
//
// Run with `node --test check.mjs`, after `npm ci`. Reads schemas/v1 only, writes to a temporary directory, and asks
// nobody on a network: both documents hold everything that they refer to, which is checked first.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';

import asyncapi from '@asyncapi/parser';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import openapiTS, { astToString } from 'openapi-typescript';
import ts from 'typescript';

import { RIGHT, WRONG } from '../common/publications.mjs';

// A tool that asked somebody would fail here and not hang.
globalThis.fetch = () => { throw new Error('a document was to be fetched; it must hold everything it refers to'); };

const published = join(dirname(fileURLToPath(import.meta.url)), '../../v1');
const text = (path) => readFileSync(join(published, path), 'utf8');
const index = JSON.parse(text('index.json'));
const documents = Object.fromEntries(Object.entries(index.documents).map(([name, path]) => [name, text(path)]));
const openapi = JSON.parse(documents.openapi);
const scratch = mkdtempSync(join(tmpdir(), 'eventwire-documents-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

// ---------------------------------------------------------------------------------------------------------------
// Both
// ---------------------------------------------------------------------------------------------------------------

function references(value, found = []) {
  if (Array.isArray(value)) value.forEach((item) => references(item, found));
  else if (value && typeof value === 'object') {
    if (typeof value.$ref === 'string') found.push(value.$ref);
    Object.values(value).forEach((item) => references(item, found));
  }
  return found;
}

test('both documents hold everything that they refer to', () => {
  for (const [name, source] of Object.entries(documents)) {
    const document = JSON.parse(source);
    const all = references(document);
    assert.ok(all.length > 500, `${name} refers to ${all.length} places`);
    for (const target of new Set(all)) {
      assert.match(target, /^#\//, `${name} refers to another file`);
      const steps = target.slice(2).split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
      assert.ok(steps.reduce((place, step) => place?.[step], document) !== undefined, `${name}: ${target} is nowhere`);
    }
  }
});

// ---------------------------------------------------------------------------------------------------------------
// AsyncAPI
// ---------------------------------------------------------------------------------------------------------------

async function parsed(source) {
  const parser = new asyncapi.Parser();
  const { document, diagnostics } = await parser.parse(source);
  // It would have everybody on the newest version; the document is of 3.0.
  return { document, problems: diagnostics.filter(({ code }) => code !== 'asyncapi-latest-version') };
}

test('the AsyncAPI parser accepts the document without a remark', async () => {
  const { document, problems } = await parsed(documents.asyncapi);
  assert.deepEqual(problems.map(({ message, path }) => `${path.join('/')}: ${message}`), []);
  assert.equal(document.version(), '3.0.0');
  assert.deepEqual(document.channels().all().map((channel) => channel.address()), ['/v1/ws', '/v1/sse', '/v1/commands']);

  const names = document.components().messages().all().map((message) => message.name());
  const expected = [...index.events, ...index.commands].map(({ type }) => type);
  assert.deepEqual(names.sort(), [...expected, 'application_command'].sort());

  const operations = document.operations().all();
  const receives = operations.filter((operation) => operation.isReceive());
  assert.deepEqual(receives.flatMap((operation) => operation.messages().all().map((it) => it.name())), index.commands.map(({ type }) => type));
  for (const operation of receives) {
    const answers = operation.reply().messages().all();
    assert.ok(answers.length >= 2 && answers.every((answer) => answer.correlationId()), operation.id());
  }
  assert.ok(document.channels().get('socket').bindings().get('ws').value().query.properties.cursor);
  for (const scheme of ['bearer', 'subprotocolToken']) assert.ok(document.securitySchemes().get(scheme), scheme);
});

test('the AsyncAPI parser refuses what is broken', async () => {
  const broken = [
    (document) => { document.components.messages.AdwToolUsePreEvent.payload = { type: 'evnet' }; },
    (document) => { document.channels.socket.address = 7; },
    (document) => { document.components.messages.PingCommand.payload.$ref = '#/components/schemas/Nothing'; },
    (document) => { document.operations.sendEvents.action = 'shout'; },
  ];
  for (const breaks of broken) {
    const document = JSON.parse(documents.asyncapi);
    breaks(document);
    assert.notEqual((await parsed(JSON.stringify(document))).problems.length, 0, String(breaks));
  }
});

// ---------------------------------------------------------------------------------------------------------------
// OpenAPI
// ---------------------------------------------------------------------------------------------------------------

// What the linter is right about in general and not here, with the place. One that no longer occurs must go.
const exceptions = new Map([
  ...['/ws/', '/mcp/', '/socket.io/'].map((path) =>
    [`no-path-trailing-slash #/paths/${path.replaceAll('/', '~1')}`, 'clients of older systems ask for exactly this path']),
  ...['get', 'head'].map((method) =>
    [`operation-2xx-response #/paths/~1v1~1schemas/${method}/responses`, 'it leads to the list below it']),
  ...['/v1/ws', '/ws', '/ws/trigger', '/ws/', '/ws/{session}', '/ui/ws/{session}', '/mcp/', '/mcp/{session}'].map((path) =>
    [`operation-2xx-response #/paths/${path.replaceAll('/', '~1')}/get/responses`, 'the good end of this path is 101']),
  ...[0, 1].map((at) =>
    [`no-required-schema-properties-undefined #/components/schemas/DialectFrame/not/required/${at}`, 'it says what must not be there']),
]);

async function problems(document) {
  const config = await createConfig({
    extends: ['recommended-strict'],
    rules: {
      'no-invalid-media-type-examples': 'error',
      // It does not see that the patterns of `type`, or the types of `error`, exclude each other. That they do is shown by
      // validators, which take every example for exactly one of the alternatives.
      'no-illogical-composition-keywords': 'off',
    },
  });
  const found = await lintFromString({ source: JSON.stringify(document), absoluteRef: 'openapi.json', config });
  return found.map(({ ruleId, message, location }) => ({ key: `${ruleId} ${location[0].pointer}`, message }));
}

test('the OpenAPI linter has nothing to say but what is expected', async () => {
  const found = await problems(openapi);
  const unexpected = found.filter(({ key }) => !exceptions.has(key)).map(({ key, message }) => `${key}: ${message}`);
  assert.deepEqual(unexpected, []);
  const keys = new Set(found.map(({ key }) => key));
  assert.deepEqual([...exceptions.keys()].filter((key) => !keys.has(key)), [], 'exceptions that are not needed');
});

test('the OpenAPI linter refuses what is broken', async () => {
  const broken = [
    (document) => { delete document.paths['/health'].get.responses; },
    (document) => { document.paths['/health'].get.operationId = 'getReadiness'; },
    (document) => { document.paths['/v1/connections'].get.responses['200'].content['application/json'].example.count = 'one'; },
    (document) => { document.paths['/v1/connections'].get.security = [{ nobody: [] }]; },
    (document) => { document.paths['/v1/agents/{adw_id}'].get.parameters = []; },
  ];
  for (const breaks of broken) {
    const document = structuredClone(openapi);
    breaks(document);
    const unexpected = (await problems(document)).filter(({ key }) => !exceptions.has(key));
    assert.notEqual(unexpected.length, 0, String(breaks));
  }
});

const methods = ['get', 'post', 'put', 'delete', 'patch', 'head'];
const operations = Object.entries(openapi.paths).flatMap(([path, item]) =>
  methods.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })));

test('every operation says what it does, who may, and every way in which it can fail', () => {
  assert.ok(operations.length > 50);
  const tags = new Set(openapi.tags.map(({ name }) => name));
  for (const { path, method, summary, tags: own, security, responses, description } of operations) {
    const name = `${method} ${path}`;
    assert.match(summary, /^[A-Z].*\.$/s, name);
    assert.ok(own.length === 1 && tags.has(own[0]), name);
    assert.ok(Array.isArray(security), `${name} does not say who may call it`);
    assert.equal(description === undefined || description.length > 0, true, name);
    assert.ok(Object.keys(responses).some((status) => /^[23]|^101/.test(status)), `${name} has no good end`);
    for (const status of ['400', '403', '408', '431', '500', '503']) assert.ok(responses[status], `${name} ${status}`);
    if (security.some((scheme) => Object.keys(scheme).length > 0)) assert.ok(responses['401'], `${name} 401`);
  }
});

// ---------------------------------------------------------------------------------------------------------------
// A generator, and code that uses what it generates
// ---------------------------------------------------------------------------------------------------------------

const uses = `
import type { components, operations, paths } from './openapi.js';

type Body<O extends keyof operations> = operations[O] extends { requestBody: { content: { 'application/json': infer B } } } ? B : never;
type Answer<O extends keyof operations, S extends keyof operations[O]['responses']> =
  operations[O]['responses'][S] extends { content: { 'application/json': infer B } } ? B : never;

// A client of a few lines, typed by the document alone.
declare function call<O extends keyof operations, S extends keyof operations[O]['responses'] & number>(operation: O, status: S, body: Body<O>): Promise<Answer<O, S>>;

export async function back_end(): Promise<number[]> {
  const event: components['schemas']['AdwTextBlockPublication'] = {
    type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 'Done.' },
  };
  const told = await call('publishEvents', 202, [event]);
  const numbers: number[] = [];
  for (const { seq, error } of told.results) {
    if (error) {
      const code: components['schemas']['ErrorCode'] = error.code;
      if (code === 'conflict') throw new Error(error.message);
    } else if (seq !== undefined) numbers.push(seq);
  }
  const { session_id } = await call('resolveSession', 200, { cookie: '5f4c0b1e' });
  const named: string = session_id;
  const { acknowledged, unknown } = await call('acknowledgeCommands', 200, { ids: [named] });
  return acknowledged.length > unknown.length ? numbers : [];
}

export async function workflow(): Promise<string> {
  const answer = await call('postToolExecution', 200, { adw_id: '29fb6a3e', tool_name: 'Read', phase: 'pre' });
  return answer.message;
}

export function look(who: Answer<'listConnections', 200>, health: Answer<'getHealth', 200>, refused: Answer<'explainRouting', 404>): string[] {
  const up: 'healthy' = health.status;
  const role: components['schemas']['Role'] | undefined = who.connections[0]?.role;
  return [up, role ?? refused.error.message, ...who.connections.flatMap((connection) => connection.permissions)];
}

export type Query = NonNullable<paths['/v1/explain']['get']['parameters']['query']>;
export const asked: Query = { type: 'adw.text_block', to: 'adw:29fb6a3e' };

// And what must not compile, does not.
// @ts-expect-error: not the word of the type
export const wrong_type: components['schemas']['AdwTextBlockPublication'] = { type: 'adw.txt_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: '' } };
// @ts-expect-error: a required member is missing
export const no_tool: Body<'postToolExecution'> = { adw_id: '29fb6a3e', phase: 'pre' };
// @ts-expect-error: no such word
export const no_phase: Body<'postToolExecution'> = { adw_id: '29fb6a3e', tool_name: 'Read', phase: 'during' };
// @ts-expect-error: the query needs a target
export const no_target: Query = { type: 'adw.text_block' };
// @ts-expect-error: 418 is no answer of this operation
export type Teapot = Answer<'getHealth', 418>;
`;

function compile(files) {
  for (const [name, source] of Object.entries(files)) writeFileSync(join(scratch, name), source);
  const program = ts.createProgram(Object.keys(files).map((name) => join(scratch, name)), {
    strict: true, noEmit: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false,
    target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
    types: [],
  });
  return ts.getPreEmitDiagnostics(program).map((it) => {
    const line = it.file ? it.file.getLineAndCharacterOfPosition(it.start).line + 1 : 0;
    return `${it.file?.fileName.split('/').at(-1)}:${line}: ${ts.flattenDiagnosticMessageText(it.messageText, ' ')}`;
  });
}

test('openapi-typescript: of the closed union right publications compile and wrong ones do not', async () => {
  const flavor = JSON.parse(readFileSync(join(published, 'flavors/openapi/publication.openapi.json'), 'utf8'));
  writeFileSync(join(scratch, 'package.json'), '{"type":"module"}');
  for (const [name, document] of Object.entries({ openapi, flavor })) {
    const files = { [`${name}.ts`]: astToString(await openapiTS(document)) };
    const use = (written) => `import type { components } from './${name}.js';
export const it: components['schemas']['KnownPublication'] = ${written};
`;
    RIGHT.forEach((written, at) => (files[`${name}-right-${at}.ts`] = use(written)));
    const wrong = Object.fromEntries(Object.values(WRONG).map((written, at) => [`${name}-wrong-${at}.ts`, use(written)]));
    const refused = new Set(compile({ ...files, ...wrong }).map((problem) => problem.split(':')[0]));
    assert.deepEqual([...refused].sort(), Object.keys(wrong).sort());
  }
});

test('types that openapi-typescript generates are usable under tsc --strict', async () => {
  const generated = astToString(await openapiTS(openapi));
  assert.ok(generated.includes('publishEvents'));
  writeFileSync(join(scratch, 'package.json'), '{"type":"module"}');
  assert.deepEqual(compile({ 'openapi.ts': generated, 'uses.ts': uses }), []);
});
