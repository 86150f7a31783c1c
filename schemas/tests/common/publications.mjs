// Publications as a producer writes them in TypeScript, for the tests of generated types.

/** Publications that are right, and those that are wrong each in one way. A misspelled member that may be absent is last. */
export const RIGHT = [
  `{ type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 'hello' } }`,
  `{ type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 'hello' }, id: 'a', expected_prev: 7 }`,
];
export const WRONG = {
  'type misspelled': `{ type: 'adw.text_blok', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 'hello' } }`,
  'value of another type': `{ type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 7 } }`,
  'member missing': `{ type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e' } }`,
  'member misspelled': `{ type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', contents: 'hello' } }`,
  'no target': `{ type: 'adw.text_block', data: { adw_id: '29fb6a3e', content: 'hello' } }`,
  'data of another event': `{ type: 'document.status', to: 'user:maria', data: { adw_id: '29fb6a3e', content: 'hello' } }`,
  'member beside data': `{ type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 'hello' }, seq: 1 }`,
  'of no publisher': `{ type: 'connection.welcome', to: 'global', data: {} }`,
  'optional member misspelled': `{ type: 'adw.text_block', to: 'adw:29fb6a3e', data: { adw_id: '29fb6a3e', content: 'hello', sequnce: 1 } }`,
};
