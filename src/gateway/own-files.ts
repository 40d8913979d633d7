/** What stands beside the code of this package: the descriptors and the OpenAPI document of what it serves, and the page. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../config.js';
import { loadWebFiles, type WebFiles } from './web-files.js';

/** What reflection tells and the gateway goes by: `npm run generate` makes it of the same contract as the code. */
export function descriptorsPath(): string {
  return path.join(packageRoot(), 'generated', 'descriptors.binpb');
}

/** The page as it was built, and the OpenAPI document. */
export function loadOwnFiles(): Promise<WebFiles> {
  const page = path.join(packageRoot(), 'dist', 'web');
  const others = { '/openapi.json': path.join(packageRoot(), 'generated', 'openapi.json') };
  return loadWebFiles(existsSync(page) ? page : undefined, others);
}
