/**
 * Verifies the registry's signatures of all installed packages, and their attestations, with `npm audit signatures`. Exits
 * with 77 if the registry offers no signatures or the keys cannot be fetched.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const args = ['audit', 'signatures', '--fetch-retries=0', '--fetch-timeout=20000'];
const { status, error, stdout, stderr } = spawnSync('npm', args, { cwd: root, encoding: 'utf8', timeout: 120_000 });
const output = `${stdout}${stderr}`.replace(/^npm error A complete log.*$/m, '').trim();
const unavailable =
  /\b(?:ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ERR_SOCKET_TIMEOUT|E40[0-9]|E50[0-9])\b|network connectivity|dependencies that can be audited|no keys|TUF/i;
if (status === 0) {
  console.log(output);
} else if (
  error !== undefined ||
  (unavailable.test(output) && !/invalid (?:registry )?(?:signature|attestation)/i.test(output))
) {
  console.log(`skipped: npm cannot verify signatures here: ${error?.message ?? firstReason(output)}`);
  process.exitCode = 77;
} else {
  console.log(output);
  process.exitCode = 1;
}

function firstReason(text) {
  return text.replace(/^npm error /gm, '').split('\n')[0];
}
