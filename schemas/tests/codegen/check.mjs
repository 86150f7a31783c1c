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

import { RIGHT, WRONG } from '../common/publications.mjs';

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
  for (const root of [index.roots.command, index.roots.publish, index.roots.publication]) {
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

/** The names of those that the compiler takes. */
function compiled(types, cases) {
  const accepted = [];
  for (const [name, written] of Object.entries(cases)) {
    const use = `import type { KnownPublication } from './publication';\nexport const it: KnownPublication = ${written};\n`;
    if (typeCheck({ 'publication.ts': types, 'use.ts': use }).length === 0) accepted.push(name);
  }
  return accepted;
}

test('json-schema-to-typescript: of the closed root right publications compile and wrong ones do not', async () => {
  const types = await interfaces(index.roots.publication);
  assert.equal(compiled(types, RIGHT).length, RIGHT.length);
  // A payload may get more members, so only the strict flavor refuses one that is not required.
  assert.deepEqual(compiled(types, WRONG), ['optional member misspelled']);
  const strict = await interfaces(`flavors/strict/${index.roots.publication}`);
  assert.equal(compiled(strict, RIGHT).length, RIGHT.length);
  assert.deepEqual(compiled(strict, WRONG), []);
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

// ---------------------------------------------------------------------------------------------------------------
// Frames of the older systems
// ---------------------------------------------------------------------------------------------------------------

const vectors = join(dirname(fileURLToPath(import.meta.url)), '../../../conformance/vectors');

/** The golden frames of a dialect; a variant has those of its family, but for the types its own file is about. */
function goldenFrames(dialect) {
  const of = (name) => JSON.parse(readFileSync(join(vectors, `${name}.json`), 'utf8'));
  const own = of(dialect.name);
  const told = new Set(own.map((vector) => vector.type));
  const family = dialect.variant_of ? of(dialect.variant_of).filter((vector) => !told.has(vector.type)) : [];
  return [...own, ...family].map((vector) => vector.frame).filter((frame) => frame !== null);
}

/** An event of Socket.IO is its name and its argument. */
const described = (dialect, frame) => (dialect.tag.socketio ? { [frame[0]]: frame[1] } : frame);

test('dialects: Ajv in strict mode accepts every file and every golden frame, and refuses mutants', () => {
  let [seen, refused] = [0, 0];
  for (const dialect of index.dialects) {
    for (const path of [dialect.client, dialect.rpc].filter(Boolean)) validator(path);
    const { $defs: definitions } = read(dialect.server);
    for (const frame of goldenFrames(dialect)) {
      accepts(dialect.server, described(dialect, frame));
      seen += 1;
      const name = dialect.tag.socketio ? frame[0] : frame[dialect.tag.member];
      const { title } = dialect.frames.find((it) => it.name === name);
      for (const member of definitions[title].required ?? []) {
        const mutant = structuredClone(frame);
        delete (dialect.tag.socketio ? mutant[1] : mutant)[member];
        refuses(dialect.server, described(dialect, mutant), `${name} without ${member}`);
        refused += 1;
      }
      const other = structuredClone(frame);
      other[dialect.tag.socketio ? 0 : dialect.tag.member] = 'of_nobody';
      refuses(dialect.server, described(dialect, other), 'a frame of another name');
    }
    for (const definition of Object.values(read(dialect.client).$defs)) {
      if (dialect.tag.socketio) continue;
      for (const example of definition.examples ?? []) accepts(dialect.client, example);
    }
  }
  assert.ok(seen > 250 && refused > 400, `${seen} frames, ${refused} mutants`);
});

test('dialects: an exhaustive switch over every frame type-checks, and one that forgets a frame does not', async () => {
  const [whole, short] = [{}, {}];
  for (const dialect of index.dialects.filter((it) => it.tag.member)) {
    const { tag, name } = dialect;
    const types = await interfaces(dialect.server);
    const switchOver = (frames) => `import type { ServerFrame, ${frames.map((it) => it.title).join(', ')} } from './${name}';
export function handle(frame: ServerFrame): unknown {
  switch (frame.${tag.member}) {
${frames.map((it) => `    case ${JSON.stringify(it.name)}: {\n      const read: ${it.title} = frame;\n      return read;\n    }`).join('\n')}
    default: {
      const forgotten: never = frame;
      return forgotten;
    }
  }
}
`;
    whole[`${name}.ts`] = types;
    whole[`${name}.consumer.ts`] = switchOver(dialect.frames);
    short[`${name}.ts`] = types;
    short[`${name}.consumer.ts`] = switchOver(dialect.frames.slice(1));
  }
  assert.deepEqual(typeCheck(whole), []);
  const problems = typeCheck(short).filter((problem) => problem.includes("'never'"));
  assert.equal(problems.length, Object.keys(short).length / 2, problems.join('\n'));
});

test('dialects: events of Socket.IO are typed by name, in either direction', async () => {
  const amiga = index.dialects.find((dialect) => dialect.name === 'amiga');
  const files = {
    'amiga.server.ts': await interfaces(amiga.server),
    'amiga.client.ts': await interfaces(amiga.client),
    'amiga.consumer.ts': `import type { ServerEvents } from './amiga.server';
import type { ClientEvents } from './amiga.client';
type Told = { [Name in keyof Required<ServerEvents>]: (argument: Required<ServerEvents>[Name]) => void };
export const handlers: Partial<Told> = {
  metrics_update: (figures) => { const at: number = figures.timestamp; void at; },
  task_failed: (task) => { const why: string = task.error; void why; },
};
export const asked: ClientEvents['subscribe'] = { hours: 24, metrics: ['overview'] };
`,
  };
  assert.deepEqual(typeCheck(files), []);
  const wrong = `import type { ClientEvents } from './amiga.client';
export const asked: ClientEvents['subscribe'] = { hours: 'all' };
`;
  assert.notDeepEqual(typeCheck({ ...files, 'amiga.wrong.ts': wrong }), []);
});

test('dialects: what clients send type-checks when written by hand', async () => {
  const files = {};
  const examples = {};
  for (const dialect of index.dialects.filter((it) => it.tag.member)) {
    files[`${dialect.name}.client.ts`] = await interfaces(dialect.client);
    examples[dialect.name] = Object.values(read(dialect.client).$defs).flatMap((it) => it.examples ?? []);
    files[`${dialect.name}.sent.ts`] = `import type { ClientFrame } from './${dialect.name}.client';
export const frames: ClientFrame[] = ${JSON.stringify(examples[dialect.name], null, 2)};
`;
  }
  assert.deepEqual(typeCheck(files), []);
  assert.ok(Object.values(examples).every((all) => all.length >= 5));
});

test('dialects: every definition becomes one named type', async () => {
  for (const dialect of index.dialects) {
    for (const root of [dialect.server, dialect.client, dialect.rpc].filter(Boolean)) {
      const text = await interfaces(root);
      const names = [...text.matchAll(/^export (?:interface|type) (\w+)/gm)].map((match) => match[1]);
      assert.deepEqual(names.filter((name) => /\d$/.test(name)), [], `${root}: types that exist twice`);
      for (const name of Object.keys(read(root).$defs)) assert.ok(names.includes(name), `${root}: no type ${name}`);
    }
  }
});

test('quicktype: every frame of the older systems gives a type of its own', async () => {
  const files = {};
  for (const dialect of index.dialects) {
    const { $defs, $schema } = read(dialect.server);
    for (const frame of dialect.frames) {
      // Of an object of any members it makes a map without a name.
      if (!$defs[frame.title].properties) continue;
      const input = new JSONSchemaInput(new FetchingJSONSchemaStore());
      await input.addSource({ name: frame.title, schema: JSON.stringify({ $schema, ...$defs[frame.title], $defs }) });
      const data = new InputData();
      data.addInput(input);
      const rendererOptions = { 'just-types': 'true', 'acronym-style': 'original' };
      const { lines } = await quicktype({ inputData: data, lang: 'typescript', rendererOptions });
      const text = lines.join('\n');
      assert.match(text, new RegExp(`export (interface|type) ${frame.title}\\b`), `${dialect.name} ${frame.name}`);
      files[`${dialect.name}.${frame.title}.quick.ts`] = text;
    }
  }
  assert.deepEqual(typeCheck(files), []);
});

test('the index names every file of the published directory', () => {
  const found = readdirSync(published, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.json') && entry.name !== 'index.json')
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(published.length + 1));
  assert.deepEqual(found.sort(), Object.keys(index.files).sort());
});
