/** Writes a user's etag without making a text of it, because each user of each page has one. */
import { appendBase36, appendByte, beginMessage, endMessage } from './message-writer.js';

const firstByte = 0x76;
const dot = 0x2e;

/** Writes the same as `etagOf` returns. */
export function putEtag(field: number, version: number, updateMs: number): void {
  const mark = beginMessage(field);
  appendByte(firstByte);
  appendBase36(version);
  appendByte(dot);
  appendBase36(updateMs);
  endMessage(mark);
}
