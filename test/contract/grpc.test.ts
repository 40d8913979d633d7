import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { describeContract } from './suite.js';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());

describeContract('gRPC', () => app.client);

describe('what every call leaves in the log', () => {
  it('is no personal data', () => {
    const text = JSON.stringify(app.lines);
    expect(app.lines.length).toBeGreaterThan(100);
    expect(text).not.toMatch(/ada\.|lovelace|@|🦊/i);
  });
});

describe('the calls that are not there yet', () => {
  it('answer UNIMPLEMENTED with a reason', async () => {
    const streams = [
      () => app.client.importUsers((async function* () {})()),
      () => Array.fromAsync(app.client.exportUsers({})),
      () => Array.fromAsync(app.client.watchUsers({})),
      () => Array.fromAsync(app.client.resolveUsers((async function* () {})())),
    ];
    for (const stream of streams) {
      await expect(stream()).rejects.toMatchObject({ code: 'UNIMPLEMENTED', reason: 'NOT_IMPLEMENTED' });
    }
  });
});
