/** Finds flags that npm kept for itself: it passes only the arguments after `--` to a script. */
import { CommanderError } from 'commander';
import type { Environment } from '../config/parse.js';
import { settingRows } from '../config/setting.js';
import { serverSettings } from '../config/settings.js';
import { UsageError } from './failure.js';

/** The package's own name, so that scripts of other packages may use npm's flags as they like. */
export const packageName = '@roster-directory/roster';

/** Throws a UsageError for `npm run serve --grpc-address …`. npm has no setting of its own with one of these names. */
export function requireNpmFlags(env: Environment): void {
  const script = npmScriptOf(env);
  if (script === undefined) return;
  const lost = settingRows(serverSettings).filter(({ name }) => env[`npm_config_${name.toLowerCase()}`] !== undefined);
  if (lost.length === 0) return;
  // No values: one of them could be a password.
  const flags = lost.map(({ flag, placeholder, isSwitch }) => (isSwitch ? flag : `${flag} ${placeholder}`)).join(' ');
  const names = lost.map(({ flag }) => flag).join(', ');
  throw new UsageError(`npm did not pass ${names} on. Write -- before the flags: npm run ${script} -- ${flags}`);
}

/** The name of this package's script that npm runs, such as `serve`. */
export function npmScriptOf(env: Environment): string | undefined {
  return env.npm_package_name === packageName ? env.npm_lifecycle_event : undefined;
}

/** Explains a value whose flag npm kept, if the flag is not one of Roster's. */
export function withNpmAdvice(error: unknown, env: Environment): unknown {
  const script = npmScriptOf(env);
  const isValue = error instanceof CommanderError && error.code === 'commander.excessArguments';
  if (script === undefined || !isValue) return error;
  const example = `npm run ${script} -- --grpc-address localhost:50051`;
  return new UsageError(`npm did not pass a flag on, or there is a value without a flag. Write flags so: ${example}`);
}
