/** The names of all roles, for a command that gives roles to an API key. */
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { builtInRoles } from '../model/caller.js';

/** Returns the built-in roles, and those of the access file if there is one. The server checks the rest of the file. */
export async function readRoleNames(accessFile: string | undefined): Promise<string[]> {
  if (accessFile === undefined) return [...builtInRoles];
  let content: unknown;
  try {
    content = parse(await readFile(accessFile, 'utf8'));
  } catch (cause) {
    throw new Error('Cannot read the roles from ACCESS_FILE.', { cause });
  }
  const roles = content instanceof Object && 'roles' in content && content.roles;
  return [...builtInRoles, ...(roles instanceof Object ? Object.keys(roles) : [])];
}
