import assert from 'node:assert/strict';

/** Each client prints a line for each check that has passed. */
const checks = [
  /^large messages: 250 users$/,
  /^parallel: 500 calls$/,
  /^import: 3000 users$/,
  /^export: 3000 users$/,
  /^resolve: 1000 answers$/,
  /^watch: ada King$/,
  /^cancellation: 250 calls next to 250 others$/,
  /^deadline: passed$/,
  /^connection age: \d+ calls$/,
];

export function assertPassed(output) {
  const lines = output.trimEnd().split('\n');
  for (const [index, pattern] of checks.entries()) assert.match(lines[index] ?? '', pattern);
  assert.equal(lines.length, checks.length);
}
