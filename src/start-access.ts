/** Starts what finds out who calls, if calls need credentials, and reloads the access file when it changes. */
import { statSync } from 'node:fs';
import type { Cleanups } from './concurrency/cleanups.js';
import { ConfigError, type ServerConfig } from './config/parse.js';
import type { Database } from './database/database.js';
import type { SignIn } from './gateway/sign-in.js';
import { createApiKeys } from './identity/api-keys.js';
import { createIdentity, type Identity } from './identity/create-identity.js';
import { isLoopback } from './net/address.js';
import { AccessFileError, readAccessFile } from './policy/access-file.js';
import type { AccessFile } from './policy/access-schema.js';
import { createPolicy } from './policy/create-policy.js';
import type { Policy } from './policy/policy.js';
import type { DirectoryIdentity } from './store/identity.js';
import type { Log } from './telemetry/log.js';

export interface Access {
  readonly identity: Identity;
  /** Changes when the access file changes. */
  policy(): Policy;
}

interface AccessParts {
  readonly log: Log;
  readonly database: Database;
  readonly directory: Pick<DirectoryIdentity, 'secret'>;
  readonly cleanups: Cleanups;
}

// A changed file is read when it has not changed again for this time.
const reloadMs = 1500;

/** Logs who may call. Throws ConfigError if the access file is invalid. */
export function logAccess(config: ServerConfig, log: Log): void {
  const { auth, grpc, http, tls } = config;
  if (!auth.isRequired) {
    // Otherwise a warning of the configuration says so.
    if (![grpc.address, http?.address ?? grpc.address].every(({ host }) => isLoopback(host))) return;
    log.info({}, 'every program on this machine may read and change all users; AUTH=on requires credentials');
    return;
  }
  const file = auth.accessFile === undefined ? undefined : checkedFile(auth.accessFile);
  const issuers = (file?.issuers ?? []).map(({ name, issuer }) => `${name} (${issuer})`);
  const fields = {
    clientCertificates: tls?.clientCa !== undefined,
    issuers: issuers.join(', ') || 'none',
    open: auth.openEndpoints.join(', ') || 'nothing',
  };
  log.info(fields, 'every call needs credentials');
}

function checkedFile(path: string): AccessFile {
  try {
    return readAccessFile(path);
  } catch (error) {
    throw error instanceof AccessFileError ? new ConfigError(error.problems) : error;
  }
}

/** Returns undefined if the server is open to everyone. */
export function startAccess(
  { auth }: ServerConfig,
  { log, database, directory, cleanups }: AccessParts,
): Access | undefined {
  if (!auth.isRequired) return undefined;
  const { accessFile } = auth;
  // Before the file is read, so that no change is missed.
  let used = accessFile && versionOf(accessFile);
  let latest = used;
  const read = (): Policy => {
    const file = accessFile === undefined ? undefined : checkedFile(accessFile);
    return createPolicy(file, { actorSecret: directory.secret });
  };
  let policy = read();
  const apiKeys = createApiKeys({
    database,
    onError: (error) => log.warn({ error }, 'API keys cannot be read; the known ones go on working'),
    onUseError: (error) => log.warn({ error }, 'the times of the last use of API keys cannot be written'),
  });
  cleanups.addWithDeadline(() => apiKeys.close());
  const identity = createIdentity({
    policy,
    apiKeys,
    onIssuerError(error, issuer, hasKeys) {
      const effect = hasKeys ? 'the known keys stay in use' : 'its tokens are not accepted';
      log.warn({ error, issuer }, `the keys of an issuer of tokens cannot be fetched; ${effect}`);
    },
    onIssuerRecovered: (issuer) => log.info({ issuer }, 'the keys of the issuer of tokens were fetched again'),
  });
  cleanups.add(async () => identity.close());
  const reload = () => {
    const previous = latest;
    latest = accessFile && versionOf(accessFile);
    // A file that is still being written could be valid without its last rules.
    if (latest === used || latest !== previous) return;
    try {
      const next = read();
      if (accessFile && versionOf(accessFile) !== latest) return;
      used = latest;
      policy = next;
      identity.setPolicy(policy);
      log.info({}, 'the new version of the access file is in use');
    } catch (error) {
      used = latest;
      const problems = error instanceof ConfigError ? error.problems.join(' ') : undefined;
      log.error(
        { problems, error: problems === undefined ? error : undefined },
        'the access file cannot be used; the previous version stays in use',
      );
    }
  };
  const timer = setInterval(reload, reloadMs).unref();
  cleanups.add(async () => clearInterval(timer));
  return { identity, policy: () => policy };
}

/** How users of the page sign in. Without a policy, they need not. */
export function signInOf(policy: Policy | undefined): SignIn {
  const { signIn, issuers = [] } = policy ?? {};
  const issuer = issuers.find(({ name }) => name === signIn?.issuer)?.issuer;
  return {
    isRequired: policy !== undefined,
    ...(signIn && issuer !== undefined && { oidc: { ...signIn, issuer } }),
  };
}

/** Differs between versions of a file. */
function versionOf(path: string): string {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch {
    return 'unreadable';
  }
}
