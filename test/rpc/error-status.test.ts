import fc from 'fast-check';
import { Status } from 'nice-grpc';
import { describe, expect, it } from 'vitest';
import { boundMessage, encodeErrorStatus } from '../../src/rpc/error-status.js';

const text = fc.string({ unit: 'binary', maxLength: 3000 });

describe('an error status', () => {
  it('has a message that any header can carry', () => {
    fc.assert(
      fc.property(
        fc.oneof(text, fc.string({ unit: fc.constantFrom('a', '\ud800', '😀', '\n'), maxLength: 3000 })),
        (message) => {
          const bounded = boundMessage(message);
          expect(encodeURI(bounded).length).toBeLessThanOrEqual(1024);
          if (encodeURI(message.toWellFormed()).length <= 1024) expect(bounded).toBe(message.toWellFormed());
        },
      ),
    );
  });

  it('stays below 4.5 KiB in base64, with any violations', () => {
    fc.assert(
      fc.property(
        text,
        fc.array(fc.record({ field: text, description: text }), { maxLength: 300 }),
        (message, violations) => {
          const requestId = 'x'.repeat(64);
          const bytes = encodeErrorStatus({
            code: Status.INVALID_ARGUMENT,
            message,
            reason: 'INVALID_FIELD',
            requestId,
            violations,
          });
          expect(Math.ceil(bytes.length / 3) * 4).toBeLessThanOrEqual(4.5 * 1024);
        },
      ),
      { numRuns: 50 },
    );
  });
});
