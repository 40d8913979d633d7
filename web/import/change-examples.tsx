/** Shows examples of what an import changes in existing users. */
import { formatCount } from '../text/format.js';
import type { JsonValue } from '../users/user-fields.js';
import type { ChangeExample } from './existing-users.js';
import type { CheckReport } from './import-check.js';
import { shortened } from './import-report.js';

const changesMax = 4;

export interface ChangeExamplesProps extends Pick<CheckReport, 'lineOf'> {
  readonly examples: readonly ChangeExample[];
}

export function ChangeExamples({ examples, lineOf }: ChangeExamplesProps) {
  if (examples.length === 0) return null;
  return (
    <table class="table change-examples">
      <thead>
        <tr>
          <th scope="col">{examples.length === 1 ? 'A user who changes' : 'Users who change, for example'}</th>
          <th scope="col">Changes</th>
        </tr>
      </thead>
      <tbody>
        {examples.map(({ row, email, changes }) => (
          <tr key={row}>
            <td>
              <bdi>{email}</bdi>
              <p class="hint">
                row {formatCount(row)} (line {formatCount(lineOf(row))})
              </p>
            </td>
            <td>
              <ul>
                {changes.slice(0, changesMax).map(({ label, before, after }) => (
                  <li key={label}>
                    <strong>
                      <bdi>{label}</bdi>
                    </strong>
                    : <Value value={before} /> <span aria-hidden="true">→</span>
                    <span class="visually-hidden">becomes</span> <Value value={after} />
                  </li>
                ))}
                {changes.length > changesMax ? <li>and {formatCount(changes.length - changesMax)} more</li> : null}
              </ul>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Value({ value }: { value: JsonValue | undefined }) {
  if (value === undefined || value === '' || value === null) return <i>empty</i>;
  if (typeof value === 'boolean') return <>{value ? 'Yes' : 'No'}</>;
  return <bdi>{shortened(typeof value === 'string' ? value : JSON.stringify(value))}</bdi>;
}
