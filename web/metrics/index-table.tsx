/** Shows the indexes for lists by name and for searches: which exist, their size and their use. */
import { formatBytes, formatCount, formatPercent } from '../text/format.js';
import type { ListIndexSample } from './metrics.js';

const serves: Readonly<Record<string, string>> = {
  users_first_name_id: 'Lists by first name',
  users_last_name_id: 'Lists by last name',
  users_search: 'Searches',
};

/** As in src/store/list-indexes.ts. */
const usersWithoutIndexMax = 20_000;

function stateOf({ bytes, built }: ListIndexSample, isSmall: boolean): string {
  if (built !== undefined) return `Being built, ${formatPercent(Math.floor(built * 100) / 100)}`;
  if (bytes > 0) return 'Exists';
  return isSmall ? 'Not needed yet' : 'Missing';
}

export interface IndexTableProps {
  readonly indexes: readonly ListIndexSample[];
  readonly users: number | undefined;
}

export function IndexTable({ indexes, users }: IndexTableProps) {
  const isSmall = users !== undefined && users <= usersWithoutIndexMax;
  return (
    <section class="card indexes" aria-labelledby="indexes-title">
      <h3 id="indexes-title">Indexes for lists</h3>
      <p class="faint">Without its index, a list by name or a search reads all users</p>
      <table class="table numeric">
        <thead>
          <tr>
            {['Index', 'State', 'Size', 'Uses'].map((title) => (
              <th key={title} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {indexes.map((index) => (
            <tr key={index.name}>
              <th scope="row">
                {serves[index.name]} <small>{index.name}</small>
              </th>
              <td>{stateOf(index, isSmall)}</td>
              <td>{index.bytes > 0 ? formatBytes(index.bytes) : '–'}</td>
              <td>{index.bytes > 0 ? formatCount(index.scans) : '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
