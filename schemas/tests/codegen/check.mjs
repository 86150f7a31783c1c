// Real generators and a strict validator on the schemas as they are committed. What frontend teams will do with
// schemas/v1 is done here first: types are generated, and code that uses them is type-checked.
//
// Run with `node --test check.mjs`, after `npm ci`. Reads schemas/v1 only; writes to a temporary directory.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, test } from 'node:test';

import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { compile } from 'json-schema-to-typescript';
import { FetchingJSONSchemaStore, InputData, JSONSchemaInput, quicktype } from 'quicktype-core';
import ts from 'typescript';

const published = join(dirname(fileURLToPath(import.meta.url)), '../../v1');
const read = (path) => JSON.parse(readFileSync(join(published, path), 'utf8'));
const index = read('index.json');
const roots = Object.values(index.roots);
const scratch = mkdtempSync(join(tmpdir(), 'eventwire-codegen-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

// ---------------------------------------------------------------------------------------------------------------
// Ajv
// ---------------------------------------------------------------------------------------------------------------

// Every strictness switch on; an unknown keyword or format is an error, not a warning.
const ajv = new Ajv2020({ strict: true, allErrors: true, logger: false });
addFormats(ajv);
const validators = new Map();
function validator(path) {
  if (!validators.has(path)) validators.set(path, ajv.compile(read(path)));
  return validators.get(path);
}
function accepts(path, value) {
  const validate = validator(path);
  assert.ok(validate(value), `${path}: ${ajv.errorsText(validate.errors)}`);
}
function refuses(path, value, why) {
  assert.equal(validator(path)(value), false, `${path} accepts ${why}`);
}

test('Ajv in strict mode compiles every file', () => {
  for (const path of [...roots, ...index.events.map((event) => event.schema)]) validator(path);
});

test('every example fits its own schema and both roots', () => {
  let seen = 0;
  for (const event of index.events) {
    for (const path of event.examples) {
      const example = read(path);
      for (const schema of [event.schema, index.roots.event, index.roots.incoming]) accepts(schema, example);
      seen += 1;
    }
  }
  assert.ok(seen >= index.events.length);
});

test('an event that lacks a required member or has another type is refused', () => {
  for (const event of index.events) {
    const schema = read(event.schema);
    const example = read(event.examples[0]);
    for (const member of schema.required) {
      const { [member]: _, ...rest } = example;
      refuses(event.schema, rest, `an event without ${member}`);
      refuses(index.roots.event, rest, `${event.type} without ${member}`);
    }
    const data = schema.$defs[schema.properties.data.$ref.split('/').pop()];
    for (const member of data.required ?? []) {
      const { [member]: _, ...rest } = example.data;
      refuses(event.schema, { ...example, data: rest }, `a payload without ${member}`);
    }
    refuses(event.schema, { ...example, type: 'adw.nope' }, 'another type');
    refuses(index.roots.event, { ...example, type: 'adw.nope' }, 'an unknown type');
    refuses(event.schema, { ...example, to: 'nobody:x' }, 'an audience that does not exist');
    accepts(index.roots.incoming, { ...example, type: 'later.thing' });
    accepts(event.schema, { ...example, data: { ...example.data, later_member: 1 } });
  }
});

test('commands and publications accept their examples and refuse unknown members', () => {
  for (const root of [index.roots.command, index.roots.publish]) {
    let seen = 0;
    for (const definition of Object.values(read(root).$defs)) {
      for (const example of definition.type === 'object' ? (definition.examples ?? []) : []) {
        accepts(root, example);
        refuses(root, { ...example, surprise: 1 }, 'an unknown member');
        seen += 1;
      }
    }
    assert.ok(seen > 3, root);
  }
});

// ---------------------------------------------------------------------------------------------------------------
// TypeScript
// ---------------------------------------------------------------------------------------------------------------

function typeCheck(files) {
  const paths = Object.entries(files).map(([name, text]) => {
    const path = join(scratch, name);
    writeFileSync(path, text);
    return path;
  });
  const options = {
    strict: true,
    noEmit: true,
    noFallthroughCasesInSwitch: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ES2022,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    types: [],
  };
  const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram(paths, options));
  return diagnostics.map((it) => ts.flattenDiagnosticMessageText(it.messageText, '\n'));
}

const interfaces = (path) => compile(read(path), 'Root', { bannerComment: '', unreachableDefinitions: false });

/** A consumer that handles every event by its own fields and lets the compiler prove that none is forgotten. */
function consumer(events) {
  const cases = events.map((event) => {
    const data = read(event.examples[0]).data;
    const used = Object.keys(data).map((member) => `event.data.${member}`);
    return `    case ${JSON.stringify(event.type)}: {\n      const read: ${event.title} = event;\n      return [read.to, ${used.join(', ')}];\n    }`;
  });
  const names = events.map((event) => event.title).join(', ');
  return `import type { Event, ${names} } from './event';
export function handle(event: Event): unknown[] {
  switch (event.type) {
${cases.join('\n')}
    default: {
      const forgotten: never = event;
      return forgotten;
    }
  }
}
`;
}

test('json-schema-to-typescript: an exhaustive switch over every event type-checks', async () => {
  const event = await interfaces(index.roots.event);
  assert.deepEqual(typeCheck({ 'event.ts': event, 'consumer.ts': consumer(index.events) }), []);
});

test('json-schema-to-typescript: a switch that forgets an event does not type-check', async () => {
  const event = await interfaces(index.roots.event);
  const problems = typeCheck({ 'event.ts': event, 'consumer.ts': consumer(index.events.slice(1)) });
  assert.ok(problems.some((problem) => problem.includes("'never'")), problems.join('\n'));
});

test('json-schema-to-typescript: an unknown field does not pass for a string', async () => {
  // Lost payload fields would show up as `unknown` and let this through.
  const event = await interfaces(index.roots.event);
  const wrong = `import type { AdwToolUsePreEvent } from './event';
export const wrong = (event: AdwToolUsePreEvent): number => event.data.tool_name;
`;
  const problems = typeCheck({ 'event.ts': event, 'wrong.ts': wrong });
  assert.deepEqual(problems, ["Type 'string' is not assignable to type 'number'."]);
});

test('json-schema-to-typescript: every definition becomes one named type', async () => {
  for (const root of roots) {
    const text = await interfaces(root);
    const names = [...text.matchAll(/^export (?:interface|type) (\w+)/gm)].map((match) => match[1]);
    const doubled = names.filter((name) => /\d$/.test(name));
    assert.deepEqual(doubled, [], `${root}: types that exist twice`);
    for (const name of Object.keys(read(root).$defs)) assert.ok(names.includes(name), `${root}: no type ${name}`);
  }
});

test('json-schema-to-typescript: the open root narrows to known events after one check', async () => {
  const incoming = await interfaces(index.roots.incoming);
  const open = `import type { Event, IncomingEvent } from './incoming';
const known: ReadonlySet<string> = new Set(${JSON.stringify(index.events.map((event) => event.type))});
export const isKnown = (event: IncomingEvent): event is Event => known.has(event.type);
export function text(event: IncomingEvent): string | undefined {
  if (!isKnown(event)) return undefined;
  return event.type === 'adw.text_block' ? event.data.content : undefined;
}
`;
  assert.deepEqual(typeCheck({ 'incoming.ts': incoming, 'open.ts': open }), []);
});

test('json-schema-to-typescript: commands and publications type-check when written by hand', async () => {
  const command = await interfaces(index.roots.command);
  const publish = await interfaces(index.roots.publish);
  const written = `import type { Command } from './command';
import type { PublishRequest } from './publish';
export const commands: Command[] = [
  { type: 'ping' },
  { type: 'subscribe', id: '1', data: { streams: [{ to: 'adw:29fb6a3e', since: 0 }] } },
];
export const request: PublishRequest = {
  type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 'hello' },
};
`;
  assert.deepEqual(typeCheck({ 'command.ts': command, 'publish.ts': publish, 'written.ts': written }), []);
  const wrong = `import type { Command } from './command';
export const command: Command = { type: 'subscribe', data: { streams: [{ to: 7 }] } };
`;
  assert.notDeepEqual(typeCheck({ 'command.ts': command, 'wrong.ts': wrong }), []);
});

test('quicktype: every event file alone gives types that type-check', async () => {
  const files = {};
  for (const event of index.events) {
    const input = new JSONSchemaInput(new FetchingJSONSchemaStore());
    await input.addSource({ name: event.title, schema: JSON.stringify(read(event.schema)) });
    const data = new InputData();
    data.addInput(input);
    // Left to itself it writes what it takes for acronyms its own way: ChatHTMLEvent.
    const rendererOptions = { 'just-types': 'true', 'acronym-style': 'original' };
    const { lines } = await quicktype({ inputData: data, lang: 'typescript', rendererOptions });
    const text = lines.join('\n');
    assert.match(text, new RegExp(`export interface ${event.title} `), event.type);
    files[`${event.type}.ts`] = text;
  }
  assert.deepEqual(typeCheck(files), []);
});

test('the index names every file of the published directory', () => {
  const found = readdirSync(published, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.json') && entry.name !== 'index.json')
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(published.length + 1));
  assert.deepEqual(found.sort(), Object.keys(index.files).sort());
});
