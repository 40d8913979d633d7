/** Shows the indexes for lists by name and for searches: which exist, their size and their use. */
import { formatBytes, formatCount, formatPercent } from '../text/format.js';
import type { ListIndexSample } from './metrics.js';

const serves: Readonly<Record<string, string>> = {
  users_first_name_id: 'Lists by first name',
  users_last_name_id: 'Lists by last name',
  users_search: 'Searches',
};

function stateOf({ bytes, built }: ListIndexSample): string {
  if (built !== undefined) return `Being built, ${formatPercent(Math.floor(built * 100) / 100)}`;
  return bytes > 0 ? 'Exists' : 'Missing';
}

export function IndexTable({ indexes }: { indexes: readonly ListIndexSample[] }) {
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
              <td>{stateOf(index)}</td>
              <td>{index.bytes > 0 ? formatBytes(index.bytes) : '–'}</td>
              <td>{index.bytes > 0 ? formatCount(index.scans) : '–'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
