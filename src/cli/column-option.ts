/** What a command says and is told of columns: `--column`, and names that nobody knows. */
import { InvalidArgumentError } from 'commander';
import { UsageError } from './failure.js';
import { isWritable, snakeCase, writableFields } from './user-columns.js';

/** `first_name=Given name`, for commander; a repeated flag adds to the ones before. */
export function parseColumn(text: string, before: ReadonlyMap<string, string> = new Map()): Map<string, string> {
  const [, field = '', name = ''] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  const known = snakeCase(field);
  if (!isWritable(known)) {
    throw new InvalidArgumentError(
      `It must be field=name, with a field of ${Object.keys(writableFields).join(', ')} or attributes.KEY.`,
    );
  }
  if (before.has(name) || [...before.values()].includes(known)) {
    throw new InvalidArgumentError('A field and a column can be named once.');
  }
  return new Map(before).set(name, known);
}

/** Throws a UsageError that says how names nobody knows can be dealt with. */
export function unknownColumns(names: readonly string[]): UsageError {
  const quoted = names.map((name) => JSON.stringify(name)).join(', ');
  const known = [...Object.keys(writableFields), 'attributes.KEY'].join(', ');
  return new UsageError(
    `Unknown columns: ${quoted}. Known are ${known}. ` +
      `Say what they are (--column email=${JSON.stringify(names[0])}) or leave them out (--ignore-unknown-columns).`,
  );
}
