/** Formats users as YAML, with the names of protobuf JSON, and reads the YAML that a user has edited. */
import { Document, parseDocument, Scalar, visit } from 'yaml';
import type { User } from '../client/index.js';
import { inexactNumberText, isExactNumber } from '../json.js';
import { safeLines } from '../safe-text.js';

/** Returns one document. Each page of a list is a sequence, and sequences one after the other are one sequence. */
export function formatYaml(value: object | readonly User[]): string {
  // As JSON first, so that times are texts in the form of protobuf JSON.
  // `compat` quotes texts that readers of YAML 1.1, such as PyYAML, would read as something else: yes, 2026-01-01.
  const document = new Document(JSON.parse(JSON.stringify(value)), { compat: 'yaml-1.1' });
  visit(document, {
    Scalar(_, scalar) {
      // Only a text in double quotes can have escapes, and a terminal must not receive the characters themselves.
      const { value } = scalar;
      if (typeof value === 'string' && safeLines(value) !== value) scalar.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return safeLines(document.toString({ lineWidth: 0 }));
}

/** The text is not YAML, or a number in it would be changed silently. */
export class InvalidYaml extends Error {
  override readonly name = 'InvalidYaml';
}

export function parseYaml(text: string): unknown {
  const document = parseDocument(text, { resolveKnownTags: false });
  const [error] = document.errors;
  if (error !== undefined) throw new InvalidYaml(error.message.replace(/:?\n.*/s, '.'));
  visit(document, {
    Scalar(_, { value, source = '' }) {
      if (typeof value === 'number' && !isExactNumber(source)) throw new InvalidYaml(inexactNumberText);
    },
  });
  return document.toJS();
}
