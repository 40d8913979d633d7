/** Starts a server that knows its callers, by API keys and by the tokens of a test issuer, and this issuer. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { apiKeyText, digestOf, newApiKey } from '../../src/model/api-key.js';
import type { BuiltInRole } from '../../src/model/caller.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { audience, clientId, startIssuer, type TestIssuer } from './issuer.js';

export interface GuardedApp extends TestApp {
  readonly issuer: TestIssuer;
  /** Returns the text of a new API key. */
  addKey(name: string, roles: readonly BuiltInRole[]): Promise<string>;
  revokeKey(name: string): Promise<void>;
}

/** The logins `reader`, `writer`, `bulk` and `admin` have these roles. All others have none. */
export async function startGuardedApp(): Promise<GuardedApp> {
  const issuer = await startIssuer();
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-access-'));
  const accessFile = path.join(folder, 'access.json');
  const roles = ['reader', 'writer', 'bulk', 'admin'];
  const content = {
    issuers: [{ name: 'corp', issuer: issuer.url, audience, clock_skew_seconds: 0 }],
    callers: roles.map((role) => ({ issuer: 'corp', claims: { groups: `${role}s` }, role })),
    attributes: {
      salary: { read: ['admin'], write: ['admin'] },
      level: { write: ['admin'] },
    },
    sign_in: { issuer: 'corp', client_id: clientId, scope: 'openid profile', audience },
  };
  writeFileSync(accessFile, JSON.stringify(content));
  const admin = newApiKey();
  const app = await startTestApp({ AUTH: 'on', ACCESS_FILE: accessFile }, { token: apiKeyText(admin) });
  const insert = ({ id, secret }: typeof admin, name: string, keyRoles: readonly string[]) =>
    app.database.query('insert into api_keys (id, name, digest, roles) values ($1, $2, $3, $4)', [
      id,
      name,
      digestOf(secret),
      keyRoles,
    ]);
  await insert(admin, 'test', ['admin']);
  await issuer.allow(`${app.http}/`);
  return {
    ...app,
    issuer,
    async addKey(name, keyRoles) {
      const key = newApiKey();
      await insert(key, name, keyRoles);
      return apiKeyText(key);
    },
    async revokeKey(name) {
      await app.database.query('update api_keys set revoke_time = now() where name = $1', [name]);
    },
    async [Symbol.asyncDispose]() {
      await app[Symbol.asyncDispose]();
      await issuer[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}
