/** Finds this package's generated files: the descriptors, the OpenAPI document and the page. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../config/package-root.js';
import { loadWebFiles, type WebFiles } from './web-files.js';

/** Returns the path of the descriptors that reflection and the gateway use. */
export function descriptorsPath(): string {
  return path.join(packageRoot(), 'generated', 'descriptors.binpb');
}

/** Loads the built page, if it exists, and the OpenAPI document. */
export function loadOwnFiles(): Promise<WebFiles> {
  const page = path.join(packageRoot(), 'dist', 'web');
  const others = { '/openapi.json': path.join(packageRoot(), 'generated', 'openapi.json') };
  return loadWebFiles(existsSync(page) ? page : undefined, others);
}
