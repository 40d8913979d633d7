/** The compressions of responses. */
import { promisify } from 'node:util';
import { brotliCompress as brotliCompressed, constants } from 'node:zlib';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';

// Node's default of 11 takes fifty times as long.
const brotliQuality = 4;
const brotliCompress = promisify(brotliCompressed);
const brotli: typeof compressionBrotli = {
  ...compressionBrotli,
  compress: async (bytes) =>
    new Uint8Array(await brotliCompress(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: brotliQuality } })),
};

export const compressions: readonly (typeof compressionGzip)[] = [compressionGzip, brotli];
