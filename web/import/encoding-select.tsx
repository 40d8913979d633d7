/** A field in which the user chooses the encoding of a file. */
import { encodings, labelOfEncoding } from './encodings.js';

export interface EncodingSelectProps {
  /** The user's choice; empty to detect it. */
  readonly encoding: string;
  /** The encoding that was detected. */
  readonly found: string | undefined;
  onChange(encoding: string): void;
}

export function EncodingSelect({ encoding, found, onChange }: EncodingSelectProps) {
  return (
    <label class="encoding">
      Encoding
      <select class="input" value={encoding} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">
          Automatic{encoding === '' && found !== undefined ? ` (${labelOfEncoding(found)})` : ''}
        </option>
        {encodings.map(([name, label]) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}
