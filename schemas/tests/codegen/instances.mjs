// Ajv in strict mode on everything that is published, flavors and dialects included, with every example and with values
// that nobody thought of: generated ones are accepted, and refused with a single fault.
//
// Run with `node --test instances.mjs`, after `npm ci`. SEED chooses other values; a failure names the one it had.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

const published = join(dirname(fileURLToPath(import.meta.url)), '../../v1');
const read = (path) => JSON.parse(readFileSync(join(published, path), 'utf8'));
const index = read('index.json');
const files = readdirSync(published, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(published.length + 1));

const ajv = new Ajv2020({ strict: true, allErrors: false, logger: false });
addFormats(ajv);
const compiled = new Map();
function validator(path, schema = read(path)) {
  if (!compiled.has(path)) compiled.set(path, ajv.compile(schema));
  return compiled.get(path);
}
function accepts(path, value, why) {
  const validate = validator(path);
  assert.ok(validate(value), `${path}: ${why}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`);
}
function refuses(path, value, why) {
  assert.equal(validator(path)(value), false, `${path} accepts ${why}: ${JSON.stringify(value)}`);
}

test('Ajv in strict mode compiles every schema, those of flavors and dialects, too', () => {
  const schemas = files.filter((path) => path.endsWith('.schema.json'));
  for (const path of schemas) validator(path);
  assert.ok(schemas.length > 2 * index.events.length, `${schemas.length}`);
});

// A discriminator is a hint that JSON Schema does not know; all else in the components is a schema like any other.
function components(path) {
  const document = JSON.parse(
    JSON.stringify(read(path)).replaceAll('#/components/schemas/', '#/$defs/'),
    (key, value) => (key === 'discriminator' ? undefined : value),
  );
  return document.components.schemas;
}

test('Ajv in strict mode compiles the components of the OpenAPI flavor', () => {
  const documents = files.filter((path) => path.startsWith('flavors/openapi/'));
  assert.ok(documents.length >= 4);
  for (const path of documents) {
    const $defs = components(path);
    const root = read(path).info.title.replace('Eventwire ', '');
    validator(path, { $ref: `#/$defs/${root}`, $defs });
  }
});

const openapi = (root) => `flavors/openapi/${root}.openapi.json`;
const strict = (root) => `flavors/strict/${root}.schema.json`;
const bundled = (path) => `flavors/bundled/${path}`;

test('every example fits every schema that describes it', () => {
  for (const event of index.events) {
    const everywhere = [event.schema, 'event.schema.json', 'incoming.schema.json', bundled(event.schema),
      bundled('event.schema.json'), strict('event'), openapi('event'), openapi('incoming')];
    for (const path of event.examples) for (const schema of everywhere) accepts(schema, read(path), path);
  }
  for (const root of ['command', 'publish']) {
    for (const [name, definition] of Object.entries(read(`${root}.schema.json`).$defs)) {
      for (const example of definition.type === 'object' ? (definition.examples ?? []) : []) {
        for (const schema of [`${root}.schema.json`, bundled(`${root}.schema.json`), strict(root), openapi(root)]) {
          accepts(schema, example, name);
        }
      }
    }
  }
});

// ---------------------------------------------------------------------------------------------------------------
// Generated values
// ---------------------------------------------------------------------------------------------------------------

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000_007);
let state = seed >>> 0;
function chance() {
  // mulberry32
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const below = (count) => Math.floor(chance() * count);
const pick = (list) => list[below(list.length)];

// Texts for the patterns that are in use; a pattern that none of them fits fails the test and gets one here.
const SAMPLES = ['global', '*', 'session:planning', 'session:~0123456789abcdef0123456789abcdef', 'session:planning/private/maria',
  'user:maria', 'adw:29fb6a3e', 'adw:29fb6a3e/raw', 'room:tasks', 'connection:c00000000000000ff', 'c00000000000000ff', '29fb6a3e',
  '9f3a77c2d1e05b64', '~0123456789abcdef0123456789abcdef', '_acme.lamp_switched', 'maria.k'];

function text(schema) {
  if (schema.format === 'date-time') return '2026-11-20T23:40:01.123456Z';
  if (schema.pattern) {
    const fitting = SAMPLES.filter((sample) => new RegExp(schema.pattern, 'u').test(sample));
    assert.notEqual(fitting.length, 0, `no sample for ${schema.pattern}`);
    return pick(fitting);
  }
  return Array.from({ length: below(4) }, () => pick(['a', 'ä', '😀', '<b>', '"', '\n'])).join('');
}

/** A value of a schema without references. */
function instance(schema) {
  if ('const' in schema) return schema.const;
  if (schema.enum) return pick(schema.enum);
  if (schema.oneOf) return instance(pick(schema.oneOf));
  switch (schema.type) {
    case 'boolean':
      return chance() < 0.5;
    case 'integer':
    case 'number': {
      const least = schema.minimum ?? -1000;
      const most = schema.maximum ?? 1000;
      const between = least + chance() * Math.min(most - least, 1e6);
      return pick([least, most, schema.type === 'integer' ? Math.floor(between) : between]);
    }
    case 'string':
      return text(schema);
    case 'array':
      return Array.from({ length: (schema.minItems ?? 0) + below(3) }, () => (schema.items ? instance(schema.items) : 1));
    default: {
      const value = {};
      for (const [name, member] of Object.entries(schema.properties ?? {})) {
        if (schema.required?.includes(name) || chance() < 0.5) value[name] = instance(member);
      }
      if (typeof schema.additionalProperties === 'object') value.more_0 = instance(schema.additionalProperties);
      if (schema.additionalProperties === true && chance() < 0.5) value.free = [null, { deep: 1 }];
      return value;
    }
  }
}

/** Calls with each place of a value and its schema, but not inside of unions, where another member may be meant. */
function places(schema, value, path, visit) {
  if (schema.oneOf) return;
  visit(schema, value, path);
  if (schema.type === 'array' && schema.items) value.forEach((item, at) => places(schema.items, item, [...path, at], visit));
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    if (value[name] !== undefined) places(member, value[name], [...path, name], visit);
  }
}

function replaced(value, path, by) {
  if (path.length === 0) return by;
  const [first, ...rest] = path;
  const copy = Array.isArray(value) ? [...value] : { ...value };
  copy[first] = replaced(value[first], rest, by);
  return copy;
}

/** Every single fault at one place. */
function faults(schema, value) {
  if ('const' in schema) return [['another constant', `${schema.const}x`]];
  const found = [['null', null]];
  if (schema.enum) found.push(['an unknown value', 'no such value']);
  const other = { boolean: 7, integer: 'seven', number: 'seven', string: 7, array: { seven: 7 }, object: ['seven'] };
  if (schema.type) found.push(['another type', other[schema.type]]);
  if (schema.type === 'integer') found.push(['a fraction', 0.5]);
  if (schema.minimum !== undefined) found.push(['less', schema.minimum - 1]);
  if (schema.maximum !== undefined && schema.maximum < 2 ** 52) found.push(['more', schema.maximum + 1]);
  if (schema.maximum === Number.MAX_SAFE_INTEGER) found.push(['more', 2 ** 53]);
  if (schema.maxLength !== undefined) found.push(['a longer text', 'x'.repeat(schema.maxLength + 1)]);
  if (schema.pattern) found.push(['another text', '😀 no pattern has this']);
  if (schema.format) found.push(['another format', 'yesterday']);
  if (schema.minItems > 0) found.push(['too few', value.slice(0, schema.minItems - 1)]);
  for (const name of schema.required ?? []) {
    const { [name]: _, ...rest } = value;
    found.push([`no ${name}`, rest]);
  }
  if (schema.additionalProperties === false) found.push(['a member more', { ...value, surprise: 1 }]);
  return found;
}

test(`generated values are accepted, and refused with a single fault (SEED=${seed})`, () => {
  let accepted = 0;
  let refused = 0;
  const play = (schema, root, everywhere) => {
    const value = instance(schema);
    for (const path of everywhere) accepts(path, value, 'a generated value');
    accepted += 1;
    const mutants = [];
    places(schema, value, [], (inner, there, path) => {
      for (const [fault, by] of faults(inner, there)) mutants.push([`${fault} at /${path.join('/')}`, replaced(value, path, by)]);
    });
    for (let count = 0; count < 4; count += 1) {
      const [fault, mutant] = pick(mutants);
      for (const path of everywhere) refuses(path, mutant, fault);
      refused += 1;
    }
  };
  for (const event of index.events) {
    for (let count = 0; count < 2; count += 1) {
      play(read(bundled(event.schema)), event.type, [event.schema, 'event.schema.json', bundled(event.schema), strict('event'), openapi('event')]);
    }
  }
  for (const member of read(bundled('command.schema.json')).oneOf) {
    play(member, 'command', ['command.schema.json', bundled('command.schema.json'), strict('command'), openapi('command')]);
  }
  const [publication] = read(bundled('publish.schema.json')).oneOf;
  for (const member of publication.oneOf) {
    play(member, 'publish', ['publish.schema.json', bundled('publish.schema.json'), strict('publish'), openapi('publish')]);
  }
  console.log(`${accepted} values accepted, ${refused} faults refused`);
  assert.ok(accepted > 2 * index.events.length && refused === 4 * accepted);
});

test('what names its members is closed in the strict flavor only', () => {
  for (const event of index.events) {
    const example = read(event.examples[0]);
    for (const more of [{ ...example, misspelt: 1 }, { ...example, data: { ...example.data, misspelt: 1 } }]) {
      refuses(strict('event'), more, 'a misspelt member');
      for (const path of [event.schema, 'event.schema.json', bundled(event.schema), openapi('event')]) accepts(path, more, 'a later member');
    }
  }
});
