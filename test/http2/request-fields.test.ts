/** Which requests are malformed (RFC 9113, sections 8.1 to 8.3). */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { areValidTrailers, checkRequest } from '../../src/http2/request-fields.js';

const pseudo = [':method', 'POST', ':scheme', 'http', ':path', '/', ':authority', 'host'];
const isValid = (...fields: string[]) => checkRequest([...pseudo, ...fields]).isValid;

describe('the fields of a request', () => {
  it('must begin with each of the required pseudo-fields once', () => {
    expect(isValid()).toBe(true);
    expect(checkRequest(pseudo.slice(0, 6)).isValid).toBe(true);
    for (let without = 0; without < 6; without += 2) {
      expect(checkRequest(pseudo.toSpliced(without, 2)).isValid).toBe(false);
    }
    expect(checkRequest([]).isValid).toBe(false);
    for (let at = 0; at < 8; at += 2) {
      const field = pseudo.slice(at, at + 2);
      expect(isValid(...field)).toBe(false);
      expect(checkRequest([...pseudo.toSpliced(at, 2), 'name', 'value', ...field]).isValid).toBe(false);
      expect(checkRequest(pseudo.toSpliced(at + 1, 1, '')).isValid).toBe(false);
    }
  });

  it.each([':status', ':protocol', ':', ':Method', ':method '])('must not have the pseudo-field “%s”', (name) => {
    expect(checkRequest([name, '200', ...pseudo]).isValid).toBe(false);
  });

  it.each(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])(
    'must not have %s, which is of HTTP/1.1',
    (name) => {
      expect(isValid(name, 'close')).toBe(false);
      expect(areValidTrailers([name, 'close'])).toBe(false);
    },
  );

  it('may have te only as trailers', () => {
    expect(isValid('te', 'trailers')).toBe(true);
    for (const value of ['', 'gzip', 'trailers, gzip']) expect(isValid('te', value)).toBe(false);
  });

  it('must have names of lower-case characters of tokens', () => {
    const allowed = /^[a-z0-9!#$%&'*+.^_`|~-]$/;
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code);
      const expected = allowed.test(character);
      for (const name of [`x${character}`, `x${character}x`]) {
        expect([code, isValid(name, 'value')]).toEqual([code, expected]);
        expect([code, areValidTrailers([name, 'value'])]).toEqual([code, expected]);
      }
    }
    expect(isValid('', 'value')).toBe(false);
  });

  it('must have values without control characters, and without spaces at their ends', () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code);
      const isSpace = character === ' ' || character === '\t';
      const isAllowed = isSpace || (code > 0x20 && code !== 0x7f);
      for (const check of [isValid, (...fields: string[]) => areValidTrailers(fields)]) {
        expect([code, check('name', `a${character}a`)]).toEqual([code, isAllowed]);
        for (const value of [`${character}a`, `a${character}`, character]) {
          expect([code, check('name', value)]).toEqual([code, isAllowed && !isSpace]);
        }
      }
    }
    expect(isValid('name', '')).toBe(true);
    expect(checkRequest(pseudo.toSpliced(5, 1, '/a\nb')).isValid).toBe(false);
  });

  it('must have one content-length, which is a number', () => {
    expect(checkRequest([...pseudo, 'content-length', '0'])).toEqual({ isValid: true, contentLength: 0 });
    expect(checkRequest([...pseudo, 'content-length', '12', 'content-length', '12']).contentLength).toBe(12);
    expect(checkRequest(pseudo).contentLength).toBeUndefined();
    for (const value of ['', '-1', '+1', '1.5', '1, 1', 'x', '0x1', '9'.repeat(16)]) {
      expect(isValid('content-length', value)).toBe(false);
    }
    expect(isValid('content-length', '1', 'content-length', '2')).toBe(false);
  });

  it('may be long, and are checked in linear time', () => {
    // With a quadratic check, this would take minutes.
    for (const middle of [' ', '\t', 'x', '\xff']) {
      const text = `x${middle.repeat(1_000_000)}`;
      expect(isValid('name', `${text}x`)).toBe(true);
      expect(isValid('name', `${text}\0`)).toBe(false);
    }
  });

  it('stay in memory only if their names are short', () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const heapBytes = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = heapBytes();
    for (let count = 0; count < 1000; count++) isValid(Buffer.alloc(50_000, `n${count}-`).toString('latin1'), 'value');
    expect(heapBytes() - before).toBeLessThan(10_000_000);
  });
});

describe('trailers', () => {
  it('have no pseudo-fields', () => {
    expect(areValidTrailers(['name', 'value', 'other', ''])).toBe(true);
    expect(areValidTrailers([])).toBe(true);
    for (let at = 0; at < 8; at += 2) expect(areValidTrailers(pseudo.slice(at, at + 2))).toBe(false);
  });
});
