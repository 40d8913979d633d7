/** The installed Chromium, for tests of the page, measurements and images. */
import { existsSync } from 'node:fs';

// Debian's package of Chromium without windows. It renders pages as the other one does, in half the time.
const headlessShell = '/usr/bin/chromium-headless-shell';
export const chromiumPath = process.env.CHROMIUM ?? (existsSync(headlessShell) ? headlessShell : '/usr/bin/chromium');

/** Why it cannot be used, or undefined. */
export const chromiumMissing: string | undefined = existsSync(chromiumPath)
  ? undefined
  : `there is no Chromium at ${chromiumPath}; set CHROMIUM to its path`;

// Chromium must call no other hosts, has no GPU, and cannot use its sandbox as root.
export const chromiumFlags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
