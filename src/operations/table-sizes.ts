/** Reads the sizes of the tables for the metrics. */
import type { Limiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';
import { readTableSizes, type TableSize } from '../store/table-sizes.js';
import { createBackgroundValue } from './background-value.js';

export interface TableSizes {
  /** Up to a few seconds old if they are read regularly. Empty before the first read. */
  sizes(): readonly TableSize[];
  close(): Promise<void>;
}

export function createTableSizes(database: Database, background: Limiter): TableSizes {
  const value = createBackgroundValue<readonly TableSize[]>([], () =>
    background.run('', () => readTableSizes(database.run)),
  );
  return { sizes: value.current, close: value.close };
}
