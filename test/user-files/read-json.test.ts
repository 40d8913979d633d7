/** JSON from other programs is read unchanged, or refused. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readJson } from '../../src/user-files/read-json.js';

it('reads a key with an escape, independent of earlier reads', () => {
  for (const key of ['"', '\n', '\u0001', '\\', 'b"']) {
    readJson('{"first":1,"\\\\":1,"b\\\\":1}');
    const text = JSON.stringify({ first: 1, [key]: 1 });
    expect(Object.keys(readJson(text) as object)).toEqual(['first', key]);
  }
});

it('reads any JSON', () => {
  expect(readJson('{"\\ud83d\\ude00":"\\u00e9\\\\"}')).toEqual({ '😀': 'é\\' });
  fc.assert(
    fc.property(fc.json({ stringUnit: 'binary' }), (text) => {
      fc.pre(!/\\ud[89a-f]/i.test(text));
      expect(JSON.stringify(readJson(text))).toBe(text);
    }),
  );
});

it.each(['', '{', '{"a":1,}', '"\\x"', '"a\nb\\n"', '\\', '{"a":"\\ud800"}', '["\\udc00x"]', '{"\\ud800":1}'])(
  'refuses %j',
  (text) => {
    expect(readJson(text)).toBeUndefined();
  },
);
