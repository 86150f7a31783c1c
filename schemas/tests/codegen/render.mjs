// quicktype on the event files, one at a time, as docs/guides/generate-types.md says. Used by quicktype.mjs, and by the
// tests of the Python package: `node render.mjs python DIRECTORY` writes one file for each event.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { FetchingJSONSchemaStore, InputData, JSONSchemaInput, quicktype } from 'quicktype-core';

export const published = join(dirname(fileURLToPath(import.meta.url)), '../../v1');
export const read = (path) => JSON.parse(readFileSync(join(published, path), 'utf8'));
export const events = read('index.json').events;

/** What a team would choose for each language. `original` keeps the names: without it, Html becomes HTML. */
export const LANGUAGES = {
  kotlin: { framework: 'kotlinx', 'acronym-style': 'original' },
  swift: { 'acronym-style': 'original' },
  go: {},
  csharp: { framework: 'SystemTextJson' },
  java: { 'acronym-style': 'original' },
  dart: {},
  python: { 'python-version': '3.7' },
  typescript: { 'runtime-typecheck': 'true', 'acronym-style': 'original' },
};

/** The text that quicktype gives for one event; several files, as for Java, one behind the other. */
export const render = (event, lang) => renderAll([event], lang);

/** The text that it gives for several events at once, each a file of its own. */
export async function renderAll(chosen, lang) {
  const input = new JSONSchemaInput(new FetchingJSONSchemaStore());
  for (const event of chosen) await input.addSource({ name: event.title, schema: JSON.stringify(read(event.schema)) });
  const inputData = new InputData();
  inputData.addInput(input);
  const { lines } = await quicktype({ inputData, lang, rendererOptions: LANGUAGES[lang] });
  return lines.join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [lang, directory] = process.argv.slice(2);
  for (const event of events) writeFileSync(join(directory, `${event.title}.txt`), await render(event, lang));
}
