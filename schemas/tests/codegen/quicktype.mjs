// quicktype on every event file, for the languages that have no generator of their own in the guide. Without a compiler
// for most of them, what is checked is that the class and every member are there under their names; TypeScript is run.
// Python is run by the tests of the Python package.
//
// Run with `node --test quicktype.mjs`, after `npm ci`. Reads schemas/v1 only.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import ts from 'typescript';

import { LANGUAGES, events, read, render, renderAll } from './render.mjs';

/** Names as a language may write them: without regard to case and separators. */
const bare = (name) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');

/** Without comments, which repeat the names that descriptions mention. */
const code = (text) => text.replaceAll(/"""[\s\S]*?"""/g, '').replaceAll(/^\s*(\/\/|\/?\*|#).*$/gm, '');

/** Objects of a schema that become classes: those with members. The union of all members is what must be found. */
function classes(schema) {
  const objects = Object.values(schema.$defs).filter((it) => it.type === 'object' && Object.keys(it.properties ?? {}).length);
  return [schema, ...objects];
}

for (const lang of Object.keys(LANGUAGES)) {
  test(`quicktype: ${lang} has the class of every event and all of its members`, async () => {
    for (const event of events) {
      const text = code(await render(event, lang));
      const declared = new Set([...text.matchAll(/(?:class|struct|interface|record|type) (\w+)/g)].map((it) => bare(it[1])));
      // The names in quotes are those on the wire; where a language needs none, the member itself has it.
      const words = new Set(text.match(/[A-Za-z0-9_]+/g));
      for (const schema of classes(read(event.schema))) {
        assert.ok(declared.has(bare(schema.title)), `${lang}, ${event.type}: no class ${schema.title}`);
        for (const member of Object.keys(schema.properties)) {
          assert.ok(words.has(member), `${lang}, ${event.type}: no member ${member} of ${schema.title}`);
        }
      }
    }
  });
}

for (const lang of ['kotlin', 'swift']) {
  test(`quicktype: ${lang} has every event once, and all members, when it gets all files in one run`, async () => {
    const text = code(await renderAll(events, lang));
    const declared = [...text.matchAll(/(?:class|struct) (\w+Event)\b/g)].map((it) => bare(it[1])).sort();
    assert.deepEqual(declared, events.map((event) => bare(event.title)).sort());
    const words = new Set(text.match(/[A-Za-z0-9_]+/g));
    for (const event of events) {
      for (const schema of classes(read(event.schema))) {
        for (const member of Object.keys(schema.properties)) {
          assert.ok(words.has(member), `${lang}, ${event.type}: no member ${member} of ${schema.title}`);
        }
      }
    }
  });
}

test('quicktype: what TypeScript reads at run time is every example, and no spoilt one', async () => {
  let refused = 0;
  for (const event of events) {
    const source = await render(event, 'typescript');
    const script = ts.transpileModule(source, { compilerOptions: { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 } });
    const { Convert } = await import(`data:text/javascript,${encodeURIComponent(script.outputText)}`);
    const [parse, write] = [Convert[`to${event.title}`], Object.values(Object.getOwnPropertyDescriptors(Convert)).map((it) => it.value).find((it) => it?.name?.endsWith('ToJson'))];
    assert.ok(parse && write, `${event.type}: ${Object.getOwnPropertyNames(Convert)}`);
    const schema = read(event.schema);
    for (const path of event.examples) {
      const example = read(path);
      const back = JSON.parse(write(parse(JSON.stringify(example))));
      const { time, data, ...rest } = example;
      assert.deepEqual({ ...rest }, Object.fromEntries(Object.keys(rest).map((it) => [it, back[it]])), path);
      assert.equal(Date.parse(back.time), Date.parse(time), path);
      assert.deepEqual(Object.keys(back.data).sort(), Object.keys(data).sort(), path);
    }
    const example = read(event.examples[0]);
    const spoilt = schema.required.map((member) => ({ ...example, [member]: undefined }));
    spoilt.push({ ...example, type: 'later.thing' }, { ...example, data: 'text' }, { ...example, to: 5 });
    for (const it of spoilt) {
      assert.throws(() => parse(JSON.stringify(it)), `${event.type} is read from ${JSON.stringify(it)}`);
      refused += 1;
    }
  }
  assert.ok(refused > events.length * 5);
});
