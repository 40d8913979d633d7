import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { describeStreams } from './streams.js';
import { describeContract } from './suite.js';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());

describeContract('gRPC', () => app.client);
describeStreams('gRPC', () => app.client, { requests: true, both: true });

describe('the log', () => {
  it('has no personal data', () => {
    const text = JSON.stringify(app.lines);
    expect(app.lines.length).toBeGreaterThan(100);
    expect(text).not.toMatch(/ada\.|lovelace|@|🦊/i);
  });
});
