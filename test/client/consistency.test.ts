import { Metadata } from 'nice-grpc';
import { describe, expect, it } from 'vitest';
import { rememberToken, sendToken } from '../../src/client/consistency.js';

const key = 'x-roster-consistency';
const tokenAt = (position: string, origin = 'aaaa') => `1.${origin}.${position}`;

/** The token after trailers with these tokens. */
function remembered(...tokens: string[]): string {
  const consistency = { token: '' };
  for (const token of tokens) rememberToken(consistency, Metadata({ [key]: token }));
  return consistency.token;
}

describe('the consistency of a client', () => {
  it('keeps the newest token, in whichever order the trailers arrive', () => {
    const [older, newer] = [tokenAt('00ff'), tokenAt('0100')];
    expect(remembered(older, newer)).toBe(newer);
    expect(remembered(newer, older)).toBe(newer);
  });

  it('keeps the last token of another server, because it cannot be compared', () => {
    const [high, low] = [tokenAt('ffff', 'zzzz'), tokenAt('0001')];
    expect(remembered(high, low)).toBe(low);
    expect(remembered(low, high)).toBe(high);
  });

  it('does not change with a trailer without a token', () => {
    const consistency = { token: tokenAt('1') };
    rememberToken(consistency, Metadata());
    expect(consistency.token).toBe(tokenAt('1'));
  });

  it('sends nothing before the first write, and not instead of what the caller sends', () => {
    const metadata = Metadata();
    sendToken({ token: '' }, metadata);
    expect(metadata.has(key)).toBe(false);
    sendToken({ token: tokenAt('1') }, metadata);
    expect(metadata.get(key)).toBe(tokenAt('1'));
    const own = Metadata({ [key]: 'latest' });
    sendToken({ token: tokenAt('1') }, own);
    expect(own.getAll(key)).toEqual(['latest']);
  });
});
