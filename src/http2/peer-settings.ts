/** Reads the settings of a client (RFC 9113, section 6.5). */
import {
  flowControlError,
  frameSizeError,
  payloadBytesMax,
  protocolError,
  settingId,
  windowBytesMax,
} from './frames.js';

const settingBytes = 6;
const frameSizeMax = 2 ** 24 - 1;

/**
 * Returns the last SETTINGS_INITIAL_WINDOW_SIZE. Throws a ConnectionError if a value is not allowed. The other settings do
 * not change what the server sends: its header blocks use no table, and it sends no large frames, which would delay others.
 */
export function readInitialWindow(bytes: Buffer, from: number, to: number): number | undefined {
  if ((to - from) % settingBytes !== 0) throw frameSizeError('The length of SETTINGS is not a multiple of six.');
  let initialWindow: number | undefined;
  for (let at = from; at < to; at += settingBytes) {
    const id = bytes.readUInt16BE(at);
    const value = bytes.readUInt32BE(at + 2);
    if (id === settingId.enablePush && value > 1) throw protocolError('ENABLE_PUSH must be 0 or 1.');
    if (id === settingId.maxFrameSize && (value < payloadBytesMax || value > frameSizeMax)) {
      throw protocolError('MAX_FRAME_SIZE is out of range.');
    }
    if (id !== settingId.initialWindowSize) continue;
    if (value > windowBytesMax) throw flowControlError('INITIAL_WINDOW_SIZE is too large.');
    initialWindow = value;
  }
  return initialWindow;
}
